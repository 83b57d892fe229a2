#include "kernels/loss/linear_cross_entropy.h"
#include "models/ops/ops.h"

namespace spikesink::ops {

Tensor cross_entropy(Pass& pass, const Var& x, const Param& weight, const Tensor& targets, double grad_scale) {
  Tensor loss = pass.empty({matrix_dims(x.value).rows}, acc_dtype(x.value.dtype()));
  const bool train = pass.mode == Pass::Mode::kTrain;
  Tensor dx = train ? pass.like(x.value) : Tensor{};
  kernels::linear_cross_entropy(pass.stream, {.loss = loss,
                                              .dx = dx,
                                              .dweight = train ? weight.grad : Tensor{},
                                              .x = x.value,
                                              .weight = weight.value,
                                              .targets = targets,
                                              .grad_scale = grad_scale});
  pass.on_the_way_back([&pass, dx, to_x = x.grad] { to_x.add(pass, dx); });
  return loss;
}

}  // namespace spikesink::ops
