#include "kernels/rope/rope.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var rope(Pass& pass, Var x, std::int64_t num_heads, std::int64_t d_head, double theta,
         const kernels::RopeScaling& scaling) {
  const std::int64_t length = pass.batch.length;
  const Grad to_x = x.grad;
  // A rotation needs nothing of its input to go back, so the output may take the input's place.
  Tensor y = x.value.sole_owner() ? x.value : pass.like(x.value);
  kernels::rope_forward(pass.stream, {.y = y,
                                      .x = x.value,
                                      .num_heads = num_heads,
                                      .d_head = d_head,
                                      .length = length,
                                      .theta = theta,
                                      .scaling = scaling});
  return pass.record(y, [&pass, to_x, num_heads, d_head, length, theta, scaling](Tensor dy) {
    Tensor dx = dy.sole_owner() ? dy : pass.like(dy);
    kernels::rope_backward(pass.stream, {.dx = dx,
                                         .dy = dy,
                                         .num_heads = num_heads,
                                         .d_head = d_head,
                                         .length = length,
                                         .theta = theta,
                                         .scaling = scaling});
    to_x.add(pass, std::move(dx));
  });
}

}  // namespace spikesink::ops
