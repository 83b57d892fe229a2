#include "kernels/embed/embedding.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var embedding(Pass& pass, const Tensor& tokens, const Param& weight) {
  Tensor y = pass.empty({tokens.numel(), weight.shape[1]}, weight.value.dtype());
  kernels::embedding_forward(pass.stream, {.y = y, .tokens = tokens, .weight = weight.value});
  return pass.record(y, [&pass, &weight, tokens](Tensor dy) {
    kernels::embedding_backward(pass.stream, {.dweight = weight.grad, .dy = dy, .tokens = tokens});
  });
}

}  // namespace spikesink::ops
