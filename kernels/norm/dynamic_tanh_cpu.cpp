#include "kernels/core/row_sums.h"
#include "kernels/norm/dynamic_tanh.h"
#include "kernels/norm/dynamic_tanh_math.h"

namespace spikesink::kernels::cpu {
namespace {

template <class T>
void forward_row(T* y, const T* x, const T* weight, const T* bias, T alpha, std::int64_t C) {
  if (bias) {
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) y[c] = math::dynamic_tanh(x[c], weight[c], alpha) + bias[c];
  } else {
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) y[c] = math::dynamic_tanh(x[c], weight[c], alpha);
  }
}

/// dx of a row, put there or added; returns what it gives to dalpha.
template <bool kAdd, class T>
T backward_row(T* dx, T* dweight, const T* dy, const T* x, const T* weight, T alpha, std::int64_t C) {
  T dalpha = 0;
#pragma omp simd reduction(+ : dalpha)
  for (std::int64_t c = 0; c < C; ++c) {
    const auto d = math::dynamic_tanh_gradient(x[c], weight[c], alpha, dy[c]);
    dweight[c] += d.weight;
    dalpha += d.alpha;
    dx[c] = kAdd ? dx[c] + d.x : d.x;
  }
  return dalpha;
}
}  // namespace

void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T *weight = a.weight.data<T>(), *bias = a.bias ? a.bias.data<T>() : nullptr;
    const T alpha = *a.alpha.data<T>();
    parallel_ranges(stream, N, row_grain(C), [&, C = C](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n)
        forward_row(a.y.data<T>() + n * C, a.x.data<T>() + n * C, weight, bias, alpha, C);
    });
  });
}

void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T *weight = a.weight.data<T>(), alpha = *a.alpha.data<T>();
    add_row_sums<T>(stream, N, C, {a.dalpha, a.dweight, a.dbias}, scratch, [&, C = C](std::int64_t n, T* dalpha) {
      T *dweight = dalpha + 1, *dx = a.dx.data<T>() + n * C;
      const T *dy = a.dy.data<T>() + n * C, *x = a.x.data<T>() + n * C;
      if (a.dbias) {  // before dx, which may lie over dy
        T* dbias = dweight + C;
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c) dbias[c] += dy[c];
      }
      *dalpha += a.accumulate ? backward_row<true>(dx, dweight, dy, x, weight, alpha, C)
                              : backward_row<false>(dx, dweight, dy, x, weight, alpha, C);
    });
  });
}

}  // namespace spikesink::kernels::cpu
