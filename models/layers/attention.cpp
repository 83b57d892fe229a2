#include "models/layers/attention.h"

#include <array>
#include <cmath>

#include "models/ops/ops.h"
#include "models/variants.h"

namespace spikesink {
namespace {

std::vector<ParamPart> qkv_parts(const std::string& path, const ModelConfig& c) {
  const auto part = [&](const char* name, std::int64_t heads) {
    return ParamPart{path + name, {heads * c.attention.d_head, c.d_model}, Init::normal(c.init_std)};
  };
  return {part(".q_proj.weight", c.attention.n_heads), part(".k_proj.weight", c.attention.kv_heads()),
          part(".v_proj.weight", c.attention.kv_heads())};
}

/// q, k and v's biases, or null.
const Param* qkv_bias(ParamSet& params, const std::string& path, const ModelConfig& c) {
  if (!c.attention.qkv_bias) return nullptr;
  const auto part = [&](const char* name, std::int64_t heads) {
    return ParamPart{path + name, {heads * c.attention.d_head}, Init::zeros()};
  };
  return &params.add_joined({part(".q_proj.bias", c.attention.n_heads), part(".k_proj.bias", c.attention.kv_heads()),
                             part(".v_proj.bias", c.attention.kv_heads())});
}

/// The scale of a QK-norm over `heads` heads, or null.
const Param* qk_scale(ParamSet& params, const std::string& name, const ModelConfig& c, std::int64_t heads) {
  if (c.norm.qk == QkNorm::kNone) return nullptr;
  const std::int64_t width = c.attention.d_head * (c.norm.qk == QkNorm::kFull ? heads : 1);
  return &params.add({name, {width}, Init::ones()});
}

}  // namespace

kernels::RopeScaling rope_scaling(const RopeScalingConfig& c) {
  constexpr std::array kinds = {kernels::RopeScaling::Kind::kNone, kernels::RopeScaling::Kind::kLinear,
                                kernels::RopeScaling::Kind::kLlama3};  // by RopeScalingKind
  return {.kind = kinds.at(static_cast<std::size_t>(c.kind)),
          .factor = c.factor,
          .low_freq_factor = c.low_freq_factor,
          .high_freq_factor = c.high_freq_factor,
          .original_context = c.original_context};
}

kernels::AttentionDims attention_dims(const AttentionConfig& c, std::int64_t length) {
  return {.n_heads = c.n_heads,
          .n_kv_heads = c.kv_heads(),
          .d_head = c.d_head,
          .length = length,
          .scale = 1 / std::sqrt(static_cast<double>(c.d_head))};
}

Attention::Attention(ParamSet& params, std::string path, const ModelConfig& c, double out_std)
    : Module(path),
      config_(c.attention),
      qk_norm_(c.norm.qk),
      qk_eps_(c.norm.eps),
      qkv_(params.add_joined(qkv_parts(path, c))),
      qkv_bias_(qkv_bias(params, path, c)),
      q_norm_(qk_scale(params, path + ".q_norm.weight", c, c.attention.n_heads)),
      k_norm_(qk_scale(params, path + ".k_norm.weight", c, c.attention.kv_heads())),
      gate_(make_gate(params, path + ".gate", c)),
      o_(params.add(
          {path + ".o_proj.weight", {c.d_model, c.attention.n_heads * c.attention.d_head}, Init::normal(out_std)})) {}

Var Attention::positioned(Pass& pass, Var qkv) const {
  const std::int64_t H = config_.n_heads, K = config_.kv_heads(), D = config_.d_head;
  const kernels::RopeScaling scaling = rope_scaling(config_.rope_scaling);
  if (qk_norm_ == QkNorm::kNone) return ops::rope(pass, std::move(qkv), H + K, D, config_.rope_theta, scaling);
  const auto mode = qk_norm_ == QkNorm::kHead ? kernels::QkNormMode::kHead : kernels::QkNormMode::kFull;
  return ops::qk_norm_rope(pass, std::move(qkv), *q_norm_, *k_norm_,
                           {.n_heads = H,
                            .n_kv_heads = K,
                            .d_head = D,
                            .theta = config_.rope_theta,
                            .scaling = scaling,
                            .eps = qk_eps_,
                            .mode = mode});
}

Var Attention::forward(Pass& pass, Var x) const {  // x (N, C)
  Var qkv = ops::linear(pass, x, qkv_);            // (N, (H + 2 K) D)
  if (qkv_bias_) qkv = ops::add_bias(pass, std::move(qkv), *qkv_bias_);
  qkv = positioned(pass, std::move(qkv));
  Var heads = ops::attention(pass, std::move(qkv), attention_dims(config_, pass.batch.length), path());  // (N, H D)
  heads = (*gate_)(pass, std::move(heads), std::move(x));
  return ops::linear(pass, std::move(heads), o_);  // (N, C)
}

}  // namespace spikesink
