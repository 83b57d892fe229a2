#pragma once
#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// x / sqrt(mean(x^2) + eps) * weight. Source: Zhang and Sennrich 2019, arXiv:1910.07467.
class RmsNorm final : public Module {
 public:
  RmsNorm(ParamSet& params, std::string path, std::int64_t d_model, double eps);

 private:
  Var forward(Pass& pass, Var x) const override;
  const Param& weight_;  // (C)
  double eps_;
};

/// (x - mean) / sqrt(var + eps) * weight + bias. Source: Ba et al. 2016, arXiv:1607.06450.
class LayerNorm final : public Module {
 public:
  LayerNorm(ParamSet& params, std::string path, std::int64_t d_model, double eps);

 private:
  Var forward(Pass& pass, Var x) const override;
  const Param &weight_, &bias_;  // (C)
  double eps_;
};

/// tanh(alpha x) * weight [+ bias], alpha a learned scalar: bounds what RMSNorm only scales. Source: Zhu et al. 2025,
/// arXiv:2503.10622.
class DynamicTanh final : public Module {
 public:
  DynamicTanh(ParamSet& params, std::string path, std::int64_t d_model, double alpha, bool with_bias);

 private:
  Var forward(Pass& pass, Var x) const override;
  const Param &weight_, &alpha_;  // (C), (1)
  const Param* bias_;             // (C), or null
};

/// Stands in the slots of Residual that a placement leaves empty. Not reported.
class Identity final : public Module {
 public:
  Identity() : Module("") {}

 private:
  Var forward(Pass& pass, Var x) const override;
};

}  // namespace spikesink
