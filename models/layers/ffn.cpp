#include "models/layers/ffn.h"

#include "models/ops/ops.h"

namespace spikesink {

SwiGlu::SwiGlu(ParamSet& params, std::string path, const ModelConfig& c, double out_std)
    : Module(path),
      gate_up_(params.add_joined(
          {{path + ".gate_proj.weight", {c.ffn.hidden(c.d_model), c.d_model}, Init::normal(c.init_std)},
           {path + ".up_proj.weight", {c.ffn.hidden(c.d_model), c.d_model}, Init::normal(c.init_std)}})),
      down_(params.add({path + ".down_proj.weight", {c.d_model, c.ffn.hidden(c.d_model)}, Init::normal(out_std)})) {}

Var SwiGlu::forward(Pass& pass, Var x) const {                                     // x (N, C)
  Var h = ops::silu_mul(pass, ops::linear(pass, std::move(x), gate_up_), path());  // (N, F)
  return ops::linear(pass, std::move(h), down_);                                   // (N, C)
}

GeluFfn::GeluFfn(ParamSet& params, std::string path, const ModelConfig& c, double out_std)
    : Module(path),
      kind_(c.ffn.gelu),
      up_(params.add({path + ".up_proj.weight", {c.ffn.hidden(c.d_model), c.d_model}, Init::normal(c.init_std)})),
      down_(params.add({path + ".down_proj.weight", {c.d_model, c.ffn.hidden(c.d_model)}, Init::normal(out_std)})) {}

Var GeluFfn::forward(Pass& pass, Var x) const {  // x (N, C)
  const auto form = kind_ == GeluKind::kExact ? kernels::GeluForm::kExact : kernels::GeluForm::kTanh;
  Var h = ops::gelu(pass, ops::linear(pass, std::move(x), up_), form);  // (N, F)
  return ops::linear(pass, std::move(h), down_);                        // (N, C)
}

LinearFfn::LinearFfn(ParamSet& params, std::string path, const ModelConfig& c, double out_std)
    : Module(path), weight_(params.add({path + ".proj.weight", {c.d_model, c.d_model}, Init::normal(out_std)})) {}

Var LinearFfn::forward(Pass& pass, Var x) const { return ops::linear(pass, std::move(x), weight_); }

}  // namespace spikesink
