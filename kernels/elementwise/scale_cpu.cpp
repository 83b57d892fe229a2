#include "kernels/core/row_sums.h"
#include "kernels/elementwise/scale.h"

namespace spikesink::kernels::cpu {
namespace {

template <class T>
void forward_part(T* y, const T* x, T s, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = s * x[i];
}

/// dx of a part; returns what it gives to ds.
template <class T>
T backward_part(T* dx, const T* dy, const T* x, T s, std::int64_t n) {
  T ds = 0;
#pragma omp simd reduction(+ : ds)
  for (std::int64_t i = 0; i < n; ++i) {
    const T d = dy[i];
    ds += d * x[i];
    dx[i] = s * d;
  }
  return ds;
}
}  // namespace

void scale_forward(const Stream& stream, const ScaleForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    parallel_ranges(stream, a.x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      forward_part(a.y.data<T>() + begin, a.x.data<T>() + begin, *a.s.data<T>(), end - begin);
    });
  });
}

void scale_backward(const Stream& stream, const ScaleBackward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    add_row_sums<T>(stream, N, C, {a.ds}, scratch, [&, C = C](std::int64_t n, T* ds) {
      *ds += backward_part(a.dx.data<T>() + n * C, a.dy.data<T>() + n * C, a.x.data<T>() + n * C, *a.s.data<T>(), C);
    });
  });
}

}  // namespace spikesink::kernels::cpu
