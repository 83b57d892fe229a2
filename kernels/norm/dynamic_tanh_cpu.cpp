#include "kernels/elementwise/row_sums.h"
#include "kernels/norm/dynamic_tanh.h"
#include "kernels/norm/dynamic_tanh_math.h"

namespace spikesink::kernels::cpu {

void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T *weight = a.weight.data<T>(), *bias = a.bias ? a.bias.data<T>() : nullptr;
    const T alpha = *a.alpha.data<T>();
    parallel_ranges(stream, N, row_grain(C), [&, C = C](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T* x = a.x.data<T>() + n * C;
        T* y = a.y.data<T>() + n * C;
        if (bias) {
#pragma omp simd
          for (std::int64_t c = 0; c < C; ++c) y[c] = weight[c] * math::tanh(alpha * x[c]) + bias[c];
        } else {
#pragma omp simd
          for (std::int64_t c = 0; c < C; ++c) y[c] = weight[c] * math::tanh(alpha * x[c]);
        }
      }
    });
  });
}

void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T *weight = a.weight.data<T>(), alpha = *a.alpha.data<T>();
    add_row_sums<T>(stream, N, C, {a.dalpha, a.dweight, a.dbias}, [&, C = C](std::int64_t n, T* dalpha) {
      T *dweight = dalpha + 1, *dx = a.dx.data<T>() + n * C;
      const T *dy = a.dy.data<T>() + n * C, *x = a.x.data<T>() + n * C;
      if (a.dbias) {  // before dx, which may lie over dy
        T* dbias = dweight + C;
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c) dbias[c] += dy[c];
      }
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t c = 0; c < C; ++c) {
        const auto d = math::dynamic_tanh_gradient(x[c], weight[c], alpha, dy[c]);
        dweight[c] += d.weight;
        sum += d.alpha;
        dx[c] = d.x;
      }
      *dalpha += sum;
    });
  });
}

}  // namespace spikesink::kernels::cpu
