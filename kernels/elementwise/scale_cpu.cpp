#include "kernels/elementwise/row_sums.h"
#include "kernels/elementwise/scale.h"

namespace spikesink::kernels::cpu {

void scale_forward(const Stream& stream, const ScaleForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    T* y = a.y.data<T>();
    const T *x = a.x.data<T>(), s = *a.s.data<T>();
    parallel_ranges(stream, a.x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) y[i] = s * x[i];
    });
  });
}

void scale_backward(const Stream& stream, const ScaleBackward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const T s = *a.s.data<T>();
    add_row_sums<T>(stream, N, C, {a.ds}, [&, C = C](std::int64_t n, T* ds) {
      const T *dy = a.dy.data<T>() + n * C, *x = a.x.data<T>() + n * C;
      T *dx = a.dx.data<T>() + n * C, sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t c = 0; c < C; ++c) {
        const T d = dy[c];
        sum += d * x[c];
        dx[c] = s * d;
      }
      *ds += sum;
    });
  });
}

}  // namespace spikesink::kernels::cpu
