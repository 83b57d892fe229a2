#pragma once
#include "models/param.h"
#include "models/pass.h"

// Kernel pairs joined to a pass: the only place where backward stands. Each says what it keeps for the way back.
namespace spikesink::ops {

/// Rows of `weight` (V, C) for `tokens` (N) i32 -> (N, C). Keeps the tokens.
Var embedding(Pass& pass, const Tensor& tokens, const Param& weight);
/// x (N, C) weight^T (O, C) -> (N, O). Keeps x.
Var linear(Pass& pass, Var x, const Param& weight);
/// x / rms(x) * weight, (N, C). Keeps x and 1 / rms (N).
Var rms_norm(Pass& pass, Var x, const Param& weight, double eps);
/// Rotates the first num_heads heads of rows of x (N, W) by their position; in place where x is not shared. Keeps
/// nothing.
Var rope(Pass& pass, Var x, std::int64_t num_heads, std::int64_t d_head, double theta);
/// Causal attention over qkv (N, (H + 2 K) D) -> (N, H D). Keeps qkv, the output and its log-sum-exp. Shows the
/// observer q, k and the log-sum-exp under `path`.
Var attention(Pass& pass, Var qkv, const kernels::AttentionDims& dims, std::string_view path);
/// silu(gate) * up for gate_up (N, 2 F) -> (N, F). Keeps gate_up.
Var silu_mul(Pass& pass, Var gate_up);
/// a + b. Keeps nothing.
Var add(Pass& pass, Var a, Var b);

/// Cross entropy in nats of every row of x (N, C) under the head `weight` (V, C) and `targets` (N) i32, -1 for rows
/// that do not count -> (N). Its gradient is that of grad_scale * the sum of the losses; it is taken at once, so a
/// training pass goes back by pass.backward(). Keeps dx.
Tensor cross_entropy(Pass& pass, const Var& x, const Param& weight, const Tensor& targets, double grad_scale);

}  // namespace spikesink::ops
