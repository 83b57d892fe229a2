#pragma once
#include "kernels/attention/attention.h"
#include "kernels/rope/rope_scaling.h"
#include "models/config.h"
#include "models/layers/gate.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// What a model's attention asks of the kernel, for sequences of `length`.
kernels::AttentionDims attention_dims(const AttentionConfig& config, std::int64_t length);

/// What a model's config asks of the rotary kernels.
kernels::RopeScaling rope_scaling(const RopeScalingConfig& config);

/// o(gate(attention(rope(norm(q x)), rope(norm(k x)), v x))), causal; q, k and v may have biases, norm and gate may be
/// absent. Sources: Vaswani et al. 2017, arXiv:1706.03762; rotary positions Su et al. 2021, arXiv:2104.09864; grouped
/// queries Ainslie et al. 2023, arXiv:2305.13245; QK-norm by head Henry et al. 2020, arXiv:2010.04245, and over the
/// full projection OLMo 2, arXiv:2501.00656.
class Attention final : public Module {
 public:
  /// `out_std`: of o_proj's initial weights.
  Attention(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

 private:
  Var forward(Pass& pass, Var x) const override;
  /// Queries and keys normalised, where they are, and turned by their positions.
  Var positioned(Pass& pass, Var qkv) const;

  AttentionConfig config_;
  QkNorm qk_norm_;
  double qk_eps_;
  const Param& qkv_;               // (H D + 2 K D, C): q_proj, k_proj, v_proj
  const Param* qkv_bias_;          // (H D + 2 K D), or null
  const Param *q_norm_, *k_norm_;  // (D) or (H D) and (K D); null without QK-norm
  GatePtr gate_;
  const Param& o_;  // (C, H D)
};

}  // namespace spikesink
