#pragma once
#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// x / sqrt(mean(x^2) + eps) * weight. Source: Zhang and Sennrich 2019, arXiv:1910.07467.
class RmsNorm final : public Module {
 public:
  RmsNorm(ParamSet& params, std::string path, std::int64_t d_model, const NormConfig& config);

 private:
  Var forward(Pass& pass, Var x) const override;
  const Param& weight_;  // (C)
  double eps_;
};

/// Stands in the slots of Residual that a placement leaves empty. Not reported.
class Identity final : public Module {
 public:
  Identity() : Module("") {}

 private:
  Var forward(Pass& pass, Var x) const override;
};

}  // namespace spikesink
