#include <algorithm>

#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/rope/rope.h"
#include "kernels/rope/rope_angles.h"
#include "kernels/rope/rope_math.h"

namespace spikesink::kernels::cpu {
namespace {

/// y = x turned; `direction` is 1, or -1 for the way back.
void rotate(const Stream& stream, const Tensor& out, const Tensor& in, std::int64_t num_heads, std::int64_t d_head,
            std::int64_t length, double theta, const RopeScaling& scaling, int direction, Scratch scratch) {
  with_dtype(in.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(in);
    const std::int64_t half = d_head / 2, turned = num_heads * d_head;
    const T* const table = rope_angles<T>(stream, length, d_head, theta, scaling, scratch);
    parallel_ranges(stream, N, row_grain(W), [&, W = W](std::int64_t begin, std::int64_t end) {
      const T sign = static_cast<T>(direction);
      for (std::int64_t n = begin; n < end; ++n) {
        const T *cos = table + n % length * d_head, *sin = cos + half;
        const T* x = in.data<T>() + n * W;
        T* y = out.data<T>() + n * W;
        for (std::int64_t column = 0; column < turned; column += d_head)
#pragma omp simd
          for (std::int64_t i = column; i < column + half; ++i) {
            const auto pair = math::turn(x[i], x[i + half], cos[i - column], sign * sin[i - column]);
            y[i] = pair.low;
            y[i + half] = pair.high;
          }
        if (y != x) std::copy(x + turned, x + W, y + turned);
      }
    });
  });
}
}  // namespace

void rope_forward(const Stream& stream, const RopeForward& a, Scratch scratch) {
  rotate(stream, a.y, a.x, a.num_heads, a.d_head, a.length, a.theta, a.scaling, 1, scratch);
}

void rope_backward(const Stream& stream, const RopeBackward& a, Scratch scratch) {
  rotate(stream, a.dx, a.dy, a.num_heads, a.d_head, a.length, a.theta, a.scaling, -1, scratch);
}

}  // namespace spikesink::kernels::cpu
