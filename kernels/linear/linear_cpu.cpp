#include "kernels/linear/gemm.h"
#include "kernels/linear/linear.h"

namespace spikesink::kernels::cpu {

void linear_forward(const Stream& stream, const LinearForward& a, Scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const std::int64_t O = a.weight.shape()[0];
    gemm<T>(stream, a.y.data<T>(), O, {a.x.data<T>(), C}, {a.weight.data<T>(), C, true}, N, O, C);
  });
}

void linear_backward(const Stream& stream, const LinearBackward& a, Scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const std::int64_t O = a.weight.shape()[0];
    const T* dy = a.dy.data<T>();
    gemm<T>(stream, a.dx.data<T>(), C, {dy, O}, {a.weight.data<T>(), C}, N, C, O);
    gemm<T>(stream, a.dweight.data<T>(), C, {dy, O, true}, {a.x.data<T>(), C}, O, C, N, 1, 1);
  });
}

}  // namespace spikesink::kernels::cpu
