#include "kernels/elementwise/scale.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var scale(Pass& pass, Var x, const Param& factor) {
  Tensor y = pass.like(x.value);
  kernels::scale_forward(pass.stream, {.y = y, .x = x.value, .s = factor.value});
  return pass.record(y, [&pass, &factor, x = x.value, to_x = x.grad](Tensor dy) {
    Tensor dx = pass.like(x);
    kernels::scale_backward(pass.stream, {.dx = dx, .ds = factor.grad, .dy = dy, .x = x, .s = factor.value});
    to_x.add(pass, dx);
  });
}

}  // namespace spikesink::ops
