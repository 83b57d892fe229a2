#include "kernels/ffn/gelu.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var gelu(Pass& pass, Var x, kernels::GeluForm form) {
  Tensor y = pass.like(x.value);
  kernels::gelu_forward(pass.stream, {.y = y, .x = x.value, .form = form});
  return pass.record(y, [&pass, form, x = x.value, to_x = x.grad](Tensor dy) {
    Tensor dx = pass.like(x);
    kernels::gelu_backward(pass.stream, {.dx = dx, .dy = dy, .x = x, .form = form});
    to_x.add(pass, dx);
  });
}

}  // namespace spikesink::ops
