#include "models/layers/norm.h"

#include "models/ops/ops.h"

namespace spikesink {

RmsNorm::RmsNorm(ParamSet& params, std::string path, std::int64_t d_model, const NormConfig& config)
    : Module(path), weight_(params.add({path + ".weight", {d_model}, Init::ones()})), eps_(config.eps) {}

Var RmsNorm::forward(Pass& pass, Var x) const { return ops::rms_norm(pass, std::move(x), weight_, eps_); }

Var Identity::forward(Pass&, Var x) const { return x; }

}  // namespace spikesink
