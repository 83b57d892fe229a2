#include "models/layers/norm.h"

#include "models/ops/ops.h"

namespace spikesink {

RmsNorm::RmsNorm(ParamSet& params, std::string path, std::int64_t d_model, double eps)
    : Module(path), weight_(params.add({path + ".weight", {d_model}, Init::ones()})), eps_(eps) {}

Var RmsNorm::forward(Pass& pass, Var x) const { return ops::rms_norm(pass, std::move(x), weight_, eps_); }

LayerNorm::LayerNorm(ParamSet& params, std::string path, std::int64_t d_model, double eps)
    : Module(path),
      weight_(params.add({path + ".weight", {d_model}, Init::ones()})),
      bias_(params.add({path + ".bias", {d_model}, Init::zeros()})),
      eps_(eps) {}

Var LayerNorm::forward(Pass& pass, Var x) const { return ops::layer_norm(pass, std::move(x), weight_, bias_, eps_); }

DynamicTanh::DynamicTanh(ParamSet& params, std::string path, std::int64_t d_model, double alpha, bool with_bias)
    : Module(path),
      weight_(params.add({path + ".weight", {d_model}, Init::ones()})),
      alpha_(params.add({path + ".alpha", {1}, Init::constant(alpha)})),
      bias_(with_bias ? &params.add({path + ".bias", {d_model}, Init::zeros()}) : nullptr) {}

Var DynamicTanh::forward(Pass& pass, Var x) const {
  return ops::dynamic_tanh(pass, std::move(x), weight_, alpha_, bias_);
}

Var Identity::forward(Pass&, Var x) const { return x; }

}  // namespace spikesink
