#pragma once
#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// o(attention(rope(q x), rope(k x), v x)), causal, no biases. Sources: Vaswani et al. 2017, arXiv:1706.03762; rotary
/// positions Su et al. 2021, arXiv:2104.09864; grouped queries Ainslie et al. 2023, arXiv:2305.13245.
class Attention final : public Module {
 public:
  /// `out_std`: of o_proj's initial weights.
  Attention(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

 private:
  Var forward(Pass& pass, Var x) const override;
  AttentionConfig config_;
  const Param& qkv_;  // (H D + 2 K D, C): q_proj, k_proj, v_proj
  const Param& o_;    // (C, H D)
};

}  // namespace spikesink
