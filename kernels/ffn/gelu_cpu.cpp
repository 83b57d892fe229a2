#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/ffn/gelu.h"
#include "kernels/ffn/gelu_math.h"

namespace spikesink::kernels::cpu {
namespace {

/// Calls f.operator()<form>(), so that the form is settled outside of the loops.
template <class F>
void with_form(GeluForm form, F&& f) {
  if (form == GeluForm::kTanh) return f.template operator()<GeluForm::kTanh>();
  f.template operator()<GeluForm::kExact>();
}
}  // namespace

void gelu_forward(const Stream& stream, const GeluForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    with_form(a.form, [&]<GeluForm form>() {
      T* y = a.y.data<T>();
      const T* x = a.x.data<T>();
      parallel_ranges(stream, a.x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) y[i] = math::gelu<form>(x[i]);
      });
    });
  });
}

void gelu_backward(const Stream& stream, const GeluBackward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    with_form(a.form, [&]<GeluForm form>() {
      T* dx = a.dx.data<T>();
      const T *dy = a.dy.data<T>(), *x = a.x.data<T>();
      parallel_ranges(stream, a.x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) dx[i] = dy[i] * math::gelu_gradient<form>(x[i]);
      });
    });
  });
}

}  // namespace spikesink::kernels::cpu
