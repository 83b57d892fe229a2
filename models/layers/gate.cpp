#include "models/layers/gate.h"

#include "models/ops/ops.h"

namespace spikesink {

Var Gate::operator()(Pass& pass, Var heads, Var block_input) const {
  Var y = forward(pass, std::move(heads), std::move(block_input));
  if (!path_.empty()) report(pass, path_, y);
  return y;
}

ConditionalGate::ConditionalGate(ParamSet& params, const std::string& path, const ModelConfig& c)
    : Gate(path, c.attention),
      weight_(params.add({path + ".weight", {c.attention.gate_width(), c.d_model}, Init::normal(c.init_std)})) {}

Var ConditionalGate::forward(Pass& pass, Var heads, Var block_input) const {
  Var logits = ops::linear(pass, std::move(block_input), weight_);  // (N, G)
  return ops::gate(pass, std::move(heads), std::move(logits), config().n_heads, config().d_head, path());
}

UnconditionalGate::UnconditionalGate(ParamSet& params, const std::string& path, const ModelConfig& c)
    : Gate(path, c.attention), logits_(params.add({path + ".logits", {c.attention.gate_width()}, Init::zeros()})) {}

Var UnconditionalGate::forward(Pass& pass, Var heads, Var) const {
  return ops::gate(pass, std::move(heads), logits_, kernels::GateRows::kConstant, config().n_heads, config().d_head,
                   path());
}

PositionalGate::PositionalGate(ParamSet& params, const std::string& path, const ModelConfig& c)
    : Gate(path, c.attention),
      table_(params.add({path + ".table", {c.context, c.attention.gate_width()}, Init::zeros(), /*looked_up=*/true})) {}

Var PositionalGate::forward(Pass& pass, Var heads, Var) const {
  return ops::gate(pass, std::move(heads), table_, kernels::GateRows::kPosition, config().n_heads, config().d_head,
                   path());
}

TokenGate::TokenGate(ParamSet& params, const std::string& path, const ModelConfig& c)
    : Gate(path, c.attention),
      weight_(params.add({path + ".weight", {c.attention.gate_width(), c.d_model}, Init::normal(c.init_std)})) {}

Var TokenGate::forward(Pass& pass, Var heads, Var) const {
  require(pass.token_embedding.has_value(), path(), ": the decoder has not set the token embedding");
  Var logits = ops::linear(pass, *pass.token_embedding, weight_);  // (N, G)
  return ops::gate(pass, std::move(heads), std::move(logits), config().n_heads, config().d_head, path());
}

}  // namespace spikesink
