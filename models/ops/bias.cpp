#include "kernels/elementwise/bias.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var add_bias(Pass& pass, Var x, const Param& bias) {
  Tensor y = x.value.sole_owner() ? x.value : pass.like(x.value);
  kernels::bias_forward(pass.stream, {.y = y, .x = x.value, .b = bias.value});
  return pass.record(y, [&pass, &bias, to_x = x.grad](Tensor dy) {
    kernels::bias_backward(pass.stream, {.db = bias.grad, .dy = dy});
    to_x.add(pass, std::move(dy));
  });
}

}  // namespace spikesink::ops
