#include "kernels/rope/qk_norm_rope.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var qk_norm_rope(Pass& pass, Var qkv, const Param& q_weight, const Param& k_weight, const QkNormRopeConfig& c) {
  const std::int64_t length = pass.batch.length, N = matrix_dims(qkv.value).rows;
  const std::int64_t norms = c.mode == kernels::QkNormMode::kHead ? c.n_heads + c.n_kv_heads : 2;
  Tensor rstd = pass.empty({N, norms}, acc_dtype(qkv.value.dtype()));
  const auto forward = [&pass, &q_weight, &k_weight, c, length, x = qkv.value, rstd] {
    Tensor y = pass.like(x);
    kernels::qk_norm_rope_forward(pass.stream, {.y = y,
                                                .rstd = rstd,
                                                .x = x,
                                                .q_weight = q_weight.value,
                                                .k_weight = k_weight.value,
                                                .n_heads = c.n_heads,
                                                .n_kv_heads = c.n_kv_heads,
                                                .d_head = c.d_head,
                                                .length = length,
                                                .theta = c.theta,
                                                .scaling = c.scaling,
                                                .eps = c.eps,
                                                .mode = c.mode});
    return y;
  };
  const auto backward = [&pass, &q_weight, &k_weight, c, length, x = qkv.value, rstd, to_x = qkv.grad](Tensor dy) {
    Tensor dx = pass.like(x);
    kernels::qk_norm_rope_backward(pass.stream, {.dx = dx,
                                                 .dq_weight = q_weight.grad,
                                                 .dk_weight = k_weight.grad,
                                                 .dy = dy,
                                                 .x = x,
                                                 .rstd = rstd,
                                                 .q_weight = q_weight.value,
                                                 .k_weight = k_weight.value,
                                                 .n_heads = c.n_heads,
                                                 .n_kv_heads = c.n_kv_heads,
                                                 .d_head = c.d_head,
                                                 .length = length,
                                                 .theta = c.theta,
                                                 .scaling = c.scaling,
                                                 .mode = c.mode});
    to_x.add(pass, dx);
  };
  return pass.record(forward(), backward, forward);
}

}  // namespace spikesink::ops
