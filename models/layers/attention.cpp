#include "models/layers/attention.h"

#include <cmath>

#include "models/ops/ops.h"

namespace spikesink {
namespace {
std::vector<ParamPart> qkv_parts(const std::string& path, const ModelConfig& c) {
  const auto part = [&](const char* name, std::int64_t heads) {
    return ParamPart{path + name, {heads * c.attention.d_head, c.d_model}, Init::normal(c.init_std)};
  };
  return {part(".q_proj.weight", c.attention.n_heads), part(".k_proj.weight", c.attention.kv_heads()),
          part(".v_proj.weight", c.attention.kv_heads())};
}
}  // namespace

Attention::Attention(ParamSet& params, std::string path, const ModelConfig& c, double out_std)
    : Module(path),
      config_(c.attention),
      qkv_(params.add_joined(qkv_parts(path, c))),
      o_(params.add(
          {path + ".o_proj.weight", {c.d_model, c.attention.n_heads * c.attention.d_head}, Init::normal(out_std)})) {}

Var Attention::forward(Pass& pass, Var x) const {  // x (N, C)
  const std::int64_t H = config_.n_heads, K = config_.kv_heads(), D = config_.d_head;
  Var qkv = ops::linear(pass, std::move(x), qkv_);                      // (N, (H + 2 K) D)
  qkv = ops::rope(pass, std::move(qkv), H + K, D, config_.rope_theta);  // q and k turned
  Var heads = ops::attention(pass, std::move(qkv),                      // (N, H D)
                             {.n_heads = H,
                              .n_kv_heads = K,
                              .d_head = D,
                              .length = pass.batch.length,
                              .scale = 1 / std::sqrt(static_cast<double>(D))},
                             path());
  return ops::linear(pass, std::move(heads), o_);  // (N, C)
}

}  // namespace spikesink
