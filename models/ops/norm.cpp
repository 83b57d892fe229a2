#include "kernels/norm/rms_norm.h"
#include "models/ops/ops.h"

namespace spikesink::ops {

Var rms_norm(Pass& pass, Var x, const Param& weight, double eps) {
  Tensor y = pass.like(x.value), rstd = pass.empty({matrix_dims(y).rows}, y.dtype());
  kernels::rms_norm_forward(pass.stream, {.y = y, .rstd = rstd, .x = x.value, .weight = weight.value, .eps = eps});
  return pass.record(y, [&pass, &weight, x = x.value, rstd, to_x = x.grad](Tensor dy) {
    Tensor dx = pass.like(x);
    kernels::rms_norm_backward(
        pass.stream, {.dx = dx, .dweight = weight.grad, .dy = dy, .x = x, .weight = weight.value, .rstd = rstd});
    to_x.add(pass, dx);
  });
}

}  // namespace spikesink::ops
