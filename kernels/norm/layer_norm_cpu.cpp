#include <cmath>

#include "kernels/core/row_sums.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/layer_norm_math.h"

namespace spikesink::kernels::cpu {
namespace {

/// dx of a row, put there or added; what it gives to the parameters is added.
template <bool kAdd, class T>
void backward_row(T* dx, T* dweight, T* dbias, const T* dy, const T* x, const T* weight, T mean, T rstd,
                  std::int64_t C) {
  T sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (std::int64_t c = 0; c < C; ++c) {
    const T g = weight[c] * dy[c];
    sum += g;
    dot += g * (x[c] - mean);
  }
  const math::LayerNormRow<T> row{mean, rstd, sum / T(C), dot * rstd / T(C)};
#pragma omp simd
  for (std::int64_t c = 0; c < C; ++c) {
    const T d = dy[c], z = math::layer_norm_z(x[c], row);
    dweight[c] += d * z;
    dbias[c] += d;
    const T out = math::layer_norm_dx(d, z, weight[c], row);
    dx[c] = kAdd ? dx[c] + out : out;
  }
}
}  // namespace

void layer_norm_forward(const Stream& stream, const LayerNormForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T *weight = a.weight.data<T>(), *bias = a.bias.data<T>();
    parallel_ranges(stream, N, row_grain(C), [&, C = C](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* x = a.x.data<T>() + n * C;
        T* y = a.y.data<T>() + n * C;
        T sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t c = 0; c < C; ++c) sum += x[c];
        const T mean = sum / T(C);
        // The row is in the cache: the variance is that of differences, since squares would cancel far from 0.
        T squares = 0;
#pragma omp simd reduction(+ : squares)
        for (std::int64_t c = 0; c < C; ++c) squares += (x[c] - mean) * (x[c] - mean);
        const T rstd = 1 / std::sqrt(squares / T(C) + T(a.eps));
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c) y[c] = math::layer_norm(x[c], mean, rstd, weight[c], bias[c]);
        a.mean.data<T>()[n] = mean;
        a.rstd.data<T>()[n] = rstd;
      }
    });
  });
}

void layer_norm_backward(const Stream& stream, const LayerNormBackward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T* weight = a.weight.data<T>();
    add_row_sums<T>(stream, N, C, {a.dweight, a.dbias}, scratch, [&, C = C](std::int64_t n, T* dweight) {
      (a.accumulate ? backward_row<true, T> : backward_row<false, T>)(a.dx.data<T>() + n * C, dweight, dweight + C,
                                                                      a.dy.data<T>() + n * C, a.x.data<T>() + n * C,
                                                                      weight, a.mean.data<T>()[n], a.rstd.data<T>()[n],
                                                                      C);
    });
  });
}

}  // namespace spikesink::kernels::cpu
