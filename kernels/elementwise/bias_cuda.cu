#include "kernels/core/column_sums.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/elementwise/bias.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// An access a thread, rows one after another. y may be x.
template <int W, class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(T* y, const T* x, const T* b, std::int64_t accesses, std::int64_t a_row) {
  const std::int64_t at = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= accesses) return;
  auto value = load<W>(x + at * W);
  const auto add = load<W>(b + at % a_row * W);
#pragma unroll
  for (int i = 0; i < W; ++i) value.at[i] += add.at[i];
  store(y + at * W, value);
}

/// Block (i, p) sums columns i kThreads W and on over run p of the rows.
template <int W, class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(float* partial, const T* dy, std::int64_t N, std::int64_t C) {
  const std::int64_t c = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * W, p = blockIdx.y;
  if (c >= C) return;
  const std::int64_t end = (p + 1) * N / gridDim.y;
  Floats<W> sum{};
  for (std::int64_t n = p * N / gridDim.y; n < end; ++n) {
    const auto row = load<W>(dy + n * C + c);
#pragma unroll
    for (int i = 0; i < W; ++i) sum.at[i] += row.at[i];
  }
#pragma unroll
  for (int i = 0; i < W; ++i) partial[p * C + c + i] = sum.at[i];
}
}  // namespace

void bias_forward(const Stream& stream, const BiasForward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    T *const y = a.y.data<T>(), *const x = a.x.data<T>(), *const b = a.b.data<T>();
    with_width<T>(C % kWidth<T> == 0 && aligned_16({y, x, b}), [&, N = N, C = C]<int W>() {
      const std::int64_t accesses = N * C / W;
      launch(stream, forward_kernel<W, T>, (accesses + kThreads - 1) / kThreads, kThreads, 0, y, x, b, accesses, C / W);
    });
  });
}

void bias_backward(const Stream& stream, const BiasBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.dy);
  const std::int64_t P = num_row_blocks(N);
  float* const partial = scratch.take<float>(P * C);
  with_cuda_dtype(a.dy.dtype(), [&, N = N, C = C]<class T>() {
    T* const dy = a.dy.data<T>();
    with_width<T>(C % kWidth<T> == 0 && aligned_16({dy}), [&]<int W>() {
      launch(stream, backward_kernel<W, T>, Extent((C + kThreads * W - 1) / (kThreads * W), P), kThreads, 0, partial,
             dy, N, C);
    });
  });
  add_column_sums(stream, a.db.data<float>(), partial, P, C);
}

}  // namespace spikesink::kernels::cuda
