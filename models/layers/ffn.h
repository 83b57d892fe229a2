#pragma once
#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

// Feed-forward networks, no biases. `out_std` is that of the last matrix's initial weights.

/// down(silu(gate x) * up x). Source: Shazeer 2020, arXiv:2002.05202.
class SwiGlu final : public Module {
 public:
  SwiGlu(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

 private:
  Var forward(Pass& pass, Var x) const override;
  const Param& gate_up_;  // (2 F, C): gate_proj, up_proj
  const Param& down_;     // (C, F)
};

/// down(gelu(up x)). Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
class GeluFfn final : public Module {
 public:
  GeluFfn(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

 private:
  Var forward(Pass& pass, Var x) const override;
  GeluKind kind_;
  const Param& up_;    // (F, C)
  const Param& down_;  // (C, F)
};

/// W x.
class LinearFfn final : public Module {
 public:
  LinearFfn(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

 private:
  Var forward(Pass& pass, Var x) const override;
  const Param& weight_;  // (C, C)
};

}  // namespace spikesink
