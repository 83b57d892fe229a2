#include "kernels/linear/gemm_cuda.h"
#include "kernels/linear/linear.h"

namespace spikesink::kernels::cuda {

void linear_forward(const Stream& stream, const LinearForward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t O = a.weight.shape()[0];
  const DType dtype = a.x.dtype();
  gemm(stream,
       {.c = a.y.raw(),
        .c_dtype = dtype,
        .c_stride = O,
        .a = {a.x.raw(), C},
        .b = {a.weight.raw(), C, true},
        .dtype = dtype,
        .rows = N,
        .cols = O,
        .inner = C},
       scratch.take<std::byte>(kGemmWorkspaceBytes));
}

void linear_backward(const Stream& stream, const LinearBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t O = a.weight.shape()[0];
  const DType dtype = a.x.dtype();
  void* const workspace = scratch.take<std::byte>(kGemmWorkspaceBytes);
  gemm(stream,
       {.c = a.dx.raw(),
        .c_dtype = dtype,
        .c_stride = C,
        .a = {a.dy.raw(), O},
        .b = {a.weight.raw(), C},
        .dtype = dtype,
        .rows = N,
        .cols = C,
        .inner = O},
       workspace);
  gemm(stream,
       {.c = a.dweight.raw(),
        .c_dtype = DType::kF32,
        .c_stride = C,
        .a = {a.dy.raw(), O, true},
        .b = {a.x.raw(), C},
        .dtype = dtype,
        .rows = O,
        .cols = C,
        .inner = N,
        .adds = true},
       workspace);
}

}  // namespace spikesink::kernels::cuda
