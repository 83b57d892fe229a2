#include <algorithm>

#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/rope/copy_columns.cuh"
#include "kernels/rope/rope.h"
#include "kernels/rope/rope_angles.cuh"
#include "kernels/rope/rope_math.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// Columns of a row.
struct Columns {
  int half, turned, width;
};

/// `rows` rows a block, as one line of (row, head, W neighbouring pairs). y may be x: a pair is one thread's alone.
template <int W, class T>
__global__ void rotate_kernel(T* y, const T* x, const RopeFrequencies frequencies, Columns columns, std::int64_t N,
                              std::int64_t length, std::int64_t rows, float direction) {
  const RopeTable angles = rope_table(dynamic_shared<float>(), rows, columns.half);
  const std::int64_t first = blockIdx.x * rows, left = N - first;
  const auto num_rows = static_cast<unsigned>(left < rows ? left : rows);
  const auto half = static_cast<unsigned>(columns.half), turned = static_cast<unsigned>(columns.turned),
             width = static_cast<unsigned>(columns.width);
  fill_rope_table(angles, frequencies, first, num_rows, half, length);
  __syncthreads();
  x += first * width;
  y += first * width;
  const unsigned steps_a_head = half / W, steps_a_row = turned / 2 / W;
  for (unsigned step = threadIdx.x; step < num_rows * steps_a_row; step += kThreads) {
    const unsigned row = step / steps_a_row, pair = step % steps_a_row, head = pair / steps_a_head,
                   i = pair % steps_a_head * W;
    const std::size_t at = std::size_t{row} * width + head * 2 * half + i;
    auto low = load<W>(x + at), high = load<W>(x + at + half);
    const auto cos = load<W>(angles.cos + row * half + i), sin = load<W>(angles.sin + row * half + i);
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const auto turn = math::turn(low.at[j], high.at[j], cos.at[j], direction * sin.at[j]);
      low.at[j] = turn.low;
      high.at[j] = turn.high;
    }
    store(y + at, low);
    store(y + at + half, high);
  }
  copy_columns<W>(y, x, num_rows, turned, width);
}

/// y = x turned; `direction` is 1, or -1 for the way back.
void rotate(const Stream& stream, const Tensor& out, const Tensor& in, std::int64_t num_heads, std::int64_t d_head,
            std::int64_t length, double theta, const RopeScaling& scaling, float direction) {
  with_cuda_dtype(in.dtype(), [&]<class T>() {
    const auto [N, width] = matrix_dims(in);
    const std::int64_t half = d_head / 2, turned = num_heads * d_head, rows = rope_rows(d_head);
    T *const y = out.data<T>(), *const x = in.data<T>();
    const Columns columns{static_cast<int>(half), static_cast<int>(turned), static_cast<int>(width)};
    const bool wide = half % kWidth<T> == 0 && width % kWidth<T> == 0 && aligned_16({y, x});
    with_width<T>(wide, [&, N = N]<int W>() {
      launch(stream, rotate_kernel<W, T>, (N + rows - 1) / rows, kThreads, rope_table_bytes(rows, d_head), y, x,
             rope_frequencies(d_head, theta, scaling), columns, N, length, rows, direction);
    });
  });
}
}  // namespace

void rope_forward(const Stream& stream, const RopeForward& a, Scratch) {
  rotate(stream, a.y, a.x, a.num_heads, a.d_head, a.length, a.theta, a.scaling, 1);
}

void rope_backward(const Stream& stream, const RopeBackward& a, Scratch) {
  rotate(stream, a.dx, a.dy, a.num_heads, a.d_head, a.length, a.theta, a.scaling, -1);
}

}  // namespace spikesink::kernels::cuda
