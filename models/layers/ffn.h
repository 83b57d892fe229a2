#pragma once
#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// down(silu(gate x) * up x), no biases. Source: Shazeer 2020, arXiv:2002.05202.
class SwiGlu final : public Module {
 public:
  /// `out_std`: of down_proj's initial weights.
  SwiGlu(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

 private:
  Var forward(Pass& pass, Var x) const override;
  const Param& gate_up_;  // (2 F, C): gate_proj, up_proj
  const Param& down_;     // (C, F)
};

}  // namespace spikesink
