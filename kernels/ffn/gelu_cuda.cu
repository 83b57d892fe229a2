#include "kernels/core/map.cuh"
#include "kernels/ffn/gelu.h"
#include "kernels/ffn/gelu_math.h"

namespace spikesink::kernels::cuda {
namespace {

template <int W, GeluForm form, class T>
__global__ void __launch_bounds__(kMapThreads) forward_kernel(T* y, const T* x, std::int64_t n) {
  map<W>(
      y, n, [](float v) { return math::gelu<form>(v); }, x);
}

template <int W, GeluForm form, class T>
__global__ void __launch_bounds__(kMapThreads) backward_kernel(T* dx, const T* dy, const T* x, std::int64_t n) {
  map<W>(
      dx, n, [](float d, float v) { return d * math::gelu_gradient<form>(v); }, dy, x);
}

/// Calls f.operator()<form>().
template <class F>
void with_form(GeluForm form, F&& f) {
  if (form == GeluForm::kTanh) return f.template operator()<GeluForm::kTanh>();
  f.template operator()<GeluForm::kExact>();
}
}  // namespace

void gelu_forward(const Stream& stream, const GeluForward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    T *const y = a.y.data<T>(), *const x = a.x.data<T>();
    const std::int64_t n = a.x.numel();
    with_form(a.form, [&]<GeluForm form>() {
      with_width<T>(aligned_16({y, x}), [&]<int W>() {
        launch(stream, forward_kernel<W, form, T>, map_blocks<W, 1>(n), kMapThreads, 0, y, x, n);
      });
    });
  });
}

void gelu_backward(const Stream& stream, const GeluBackward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    T *const dx = a.dx.data<T>(), *const dy = a.dy.data<T>(), *const x = a.x.data<T>();
    const std::int64_t n = a.x.numel();
    with_form(a.form, [&]<GeluForm form>() {
      with_width<T>(aligned_16({dx, dy, x}), [&]<int W>() {
        launch(stream, backward_kernel<W, form, T>, map_blocks<W, 2>(n), kMapThreads, 0, dx, dy, x, n);
      });
    });
  });
}

}  // namespace spikesink::kernels::cuda
