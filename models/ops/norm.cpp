#include "kernels/norm/dynamic_tanh.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/rms_norm.h"
#include "models/ops/ops.h"

namespace spikesink::ops {

Var rms_norm(Pass& pass, Var x, const Param& weight, double eps) {
  Tensor rstd = pass.empty({matrix_dims(x.value).rows}, acc_dtype(x.value.dtype()));
  const auto forward = [&pass, &weight, x = x.value, rstd, eps] {
    Tensor y = pass.like(x);
    kernels::rms_norm_forward(pass.stream, {.y = y, .rstd = rstd, .x = x, .weight = weight.value, .eps = eps});
    return y;
  };
  const auto backward = [&pass, &weight, x = x.value, rstd, to_x = x.grad](Tensor dy) {
    const Tensor sum = to_x.addend(), dx = sum ? sum : pass.like(x);
    kernels::rms_norm_backward(pass.stream, {.dx = dx,
                                             .dweight = weight.grad,
                                             .dy = dy,
                                             .x = x,
                                             .weight = weight.value,
                                             .rstd = rstd,
                                             .accumulate = static_cast<bool>(sum)});
    if (!sum) to_x.add(pass, dx);
  };
  return pass.record(forward(), backward, forward);
}

Var layer_norm(Pass& pass, Var x, const Param& weight, const Param& bias, double eps) {
  const Shape rows{matrix_dims(x.value).rows};
  const DType sums = acc_dtype(x.value.dtype());
  Tensor mean = pass.empty(rows, sums), rstd = pass.empty(rows, sums);
  const auto forward = [&pass, &weight, &bias, x = x.value, mean, rstd, eps] {
    Tensor y = pass.like(x);
    kernels::layer_norm_forward(
        pass.stream,
        {.y = y, .mean = mean, .rstd = rstd, .x = x, .weight = weight.value, .bias = bias.value, .eps = eps});
    return y;
  };
  const auto backward = [&pass, &weight, &bias, x = x.value, mean, rstd, to_x = x.grad](Tensor dy) {
    const Tensor sum = to_x.addend(), dx = sum ? sum : pass.like(x);
    kernels::layer_norm_backward(pass.stream, {.dx = dx,
                                               .dweight = weight.grad,
                                               .dbias = bias.grad,
                                               .dy = dy,
                                               .x = x,
                                               .weight = weight.value,
                                               .mean = mean,
                                               .rstd = rstd,
                                               .accumulate = static_cast<bool>(sum)});
    if (!sum) to_x.add(pass, dx);
  };
  return pass.record(forward(), backward, forward);
}

Var dynamic_tanh(Pass& pass, Var x, const Param& weight, const Param& alpha, const Param* bias) {
  const auto forward = [&pass, &weight, &alpha, bias, x = x.value] {
    Tensor y = pass.like(x);
    kernels::dynamic_tanh_forward(
        pass.stream,
        {.y = y, .x = x, .weight = weight.value, .bias = bias ? bias->value : Tensor{}, .alpha = alpha.value});
    return y;
  };
  const auto backward = [&pass, &weight, &alpha, bias, x = x.value, to_x = x.grad](Tensor dy) {
    const Tensor sum = to_x.addend(), dx = sum ? sum : pass.like(x);
    kernels::dynamic_tanh_backward(pass.stream, {.dx = dx,
                                                 .dweight = weight.grad,
                                                 .dbias = bias ? bias->grad : Tensor{},
                                                 .dalpha = alpha.grad,
                                                 .dy = dy,
                                                 .x = x,
                                                 .weight = weight.value,
                                                 .alpha = alpha.value,
                                                 .accumulate = static_cast<bool>(sum)});
    if (!sum) to_x.add(pass, dx);
  };
  return pass.record(forward(), backward, forward);
}

}  // namespace spikesink::ops
