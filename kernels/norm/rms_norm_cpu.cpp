#include <cmath>

#include "kernels/core/row_sums.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/norm/rms_norm_math.h"

namespace spikesink::kernels::cpu {
namespace {

/// dx of a row, put there or added; dy x rstd is added to dweight.
template <bool kAdd, class T>
void backward_row(T* dx, T* dweight, const T* dy, const T* x, const T* weight, T rstd, std::int64_t C) {
  T dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t c = 0; c < C; ++c) dot += weight[c] * dy[c] * x[c];
  const T shrink = math::rms_norm_shrink(dot, rstd, T(C));
#pragma omp simd
  for (std::int64_t c = 0; c < C; ++c) {
    const T d = dy[c];
    dweight[c] += math::rms_norm_dweight(d, x[c], rstd);
    const T out = math::rms_norm_dx(d, x[c], weight[c], rstd, shrink);
    dx[c] = kAdd ? dx[c] + out : out;
  }
}
}  // namespace

void rms_norm_forward(const Stream& stream, const RmsNormForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T* weight = a.weight.data<T>();
    parallel_ranges(stream, N, row_grain(C), [&, C = C](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* x = a.x.data<T>() + n * C;
        T* y = a.y.data<T>() + n * C;
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t c = 0; c < C; ++c) sum += x[c] * x[c];
        const T rstd = 1 / std::sqrt(sum / T(C) + T(a.eps));
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c) y[c] = math::rms_norm(x[c], rstd, weight[c]);
        a.rstd.data<T>()[n] = rstd;
      }
    });
  });
}

void rms_norm_backward(const Stream& stream, const RmsNormBackward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    add_row_sums<T>(stream, N, C, {a.dweight}, scratch, [&, C = C](std::int64_t n, T* dweight) {
      (a.accumulate ? backward_row<true, T> : backward_row<false, T>)(a.dx.data<T>() + n * C, dweight,
                                                                      a.dy.data<T>() + n * C, a.x.data<T>() + n * C,
                                                                      a.weight.data<T>(), a.rstd.data<T>()[n], C);
    });
  });
}

}  // namespace spikesink::kernels::cpu
