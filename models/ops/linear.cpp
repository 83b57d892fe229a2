#include "kernels/linear/linear.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var linear(Pass& pass, Var x, const Param& weight) {
  Tensor y = pass.empty({matrix_dims(x.value).rows, weight.shape[0]}, x.value.dtype());
  Tensor factor = x.value, values = weight.value;
  if (pass.intervention) pass.intervention->product(weight, factor, values);
  kernels::linear_forward(pass.stream, {.y = y, .x = factor, .weight = values});
  return pass.record(y, [&pass, &weight, kept = pass.keep(x), to_x = x.grad](Tensor dy) {
    const Tensor input = kept.get();
    Tensor dx = pass.like(input);
    kernels::linear_backward(pass.stream,
                             {.dx = dx, .dweight = weight.grad, .dy = dy, .x = input, .weight = weight.value});
    to_x.add(pass, dx);
  });
}

}  // namespace spikesink::ops
