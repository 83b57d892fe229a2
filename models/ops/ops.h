#pragma once
#include "kernels/ffn/gelu.h"
#include "kernels/gate/gate.h"
#include "kernels/rope/qk_norm_rope.h"
#include "models/param.h"
#include "models/pass.h"

// Kernel pairs joined to a pass: the only place where backward stands. Each says what it keeps for the way back.
namespace spikesink::ops {

/// Sizes of qk_norm_rope().
struct QkNormRopeConfig {
  std::int64_t n_heads, n_kv_heads, d_head;
  double theta, eps;
  kernels::QkNormMode mode;
};

/// Rows of `weight` (V, C) for `tokens` (N) i32 -> (N, C). Keeps the tokens.
Var embedding(Pass& pass, const Tensor& tokens, const Param& weight);
/// x (N, C) weight^T (O, C) -> (N, O). Keeps x.
Var linear(Pass& pass, Var x, const Param& weight);
/// x / rms(x) * weight, (N, C). Keeps x and 1 / rms (N).
Var rms_norm(Pass& pass, Var x, const Param& weight, double eps);
/// (x - mean) / std * weight + bias, (N, C). Keeps x, mean and 1 / std (N).
Var layer_norm(Pass& pass, Var x, const Param& weight, const Param& bias, double eps);
/// tanh(alpha x) * weight + bias, (N, C); alpha (1); bias may be null. Keeps x.
Var dynamic_tanh(Pass& pass, Var x, const Param& weight, const Param& alpha, const Param* bias);
/// x * factor (1). Keeps x.
Var scale(Pass& pass, Var x, const Param& factor);
/// Rotates the first num_heads heads of rows of x (N, W) by their position; in place where x is not shared. Keeps
/// nothing.
Var rope(Pass& pass, Var x, std::int64_t num_heads, std::int64_t d_head, double theta);
/// RMSNorm of q and k, then their rotation, in one: qkv (N, (H + 2 K) D) -> the same shape. Keeps qkv and 1 / rms.
Var qk_norm_rope(Pass& pass, Var qkv, const Param& q_weight, const Param& k_weight, const QkNormRopeConfig& config);
/// Causal attention over qkv (N, (H + 2 K) D) -> (N, H D), inside the pass's documents. Keeps qkv, the output and its
/// log-sum-exp. Shows the observer q, k and the log-sum-exp under `path`.
Var attention(Pass& pass, Var qkv, const kernels::AttentionDims& dims, std::string_view path);
/// silu(gate) * up for gate_up (N, 2 F) -> (N, F). Keeps gate_up, and shows it to the observer under `path`.
Var silu_mul(Pass& pass, Var gate_up, std::string_view path);
/// gelu(x), (N, F). Keeps x.
Var gelu(Pass& pass, Var x, kernels::GeluForm form);
/// heads (N, H D) * sigmoid(logits), with logits (N, G), G one of H D, H, 1. Keeps both. Shows the observer the logits
/// under `path`.
Var gate(Pass& pass, Var heads, Var logits, std::int64_t num_heads, std::int64_t d_head, std::string_view path);
/// The same with learned logits: a row for all tokens, or a row a position. Keeps heads.
Var gate(Pass& pass, Var heads, const Param& logits, kernels::GateRows rows, std::int64_t num_heads,
         std::int64_t d_head, std::string_view path);
/// x under a gradient of its own, which joins that of x when all after it have sent theirs. Keeps nothing.
Var branch(Pass& pass, const Var& x);
/// a + b. Keeps nothing.
Var add(Pass& pass, Var a, Var b);

/// Cross entropy in nats of every row of x (N, C) under the head `weight` (V, C) and `targets` (N) i32, -1 for rows
/// that do not count -> (N). Its gradient is that of grad_scale * the sum of the losses; it is taken at once, so a
/// training pass goes back by pass.backward(). Keeps dx.
Tensor cross_entropy(Pass& pass, const Var& x, const Param& weight, const Tensor& targets, double grad_scale);

}  // namespace spikesink::ops
