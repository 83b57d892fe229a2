#include "kernels/ffn/gelu.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var gelu(Pass& pass, Var x, kernels::GeluForm form) {
  const auto forward = [&pass, form, x = x.value] {
    Tensor y = pass.like(x);
    kernels::gelu_forward(pass.stream, {.y = y, .x = x, .form = form});
    return y;
  };
  const auto backward = [&pass, form, x = x.value, to_x = x.grad](Tensor dy) {
    Tensor dx = pass.like(x);
    kernels::gelu_backward(pass.stream, {.dx = dx, .dy = dy, .x = x, .form = form});
    to_x.add(pass, dx);
  };
  return pass.record(forward(), backward, forward);
}

}  // namespace spikesink::ops
