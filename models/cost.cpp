#include "models/cost.h"

#include "models/decoder.h"

namespace spikesink {
namespace {

bool contains(const std::string& name, std::string_view word) { return name.find(word) != std::string::npos; }

/// The part that a parameter's name puts it in.
PartCost& part_of(ModelCost& cost, const std::string& name) {
  if (contains(name, "embed_tokens")) return cost.embedding;
  if (contains(name, "lm_head")) return cost.head;
  if (contains(name, "norm")) return cost.norms;
  if (contains(name, ".gate.")) return cost.gates;
  return contains(name, ".self_attn.") ? cost.attention : cost.ffn;
}

}  // namespace

ModelCost cost_of(const ModelConfig& c, std::int64_t loss_from_position) {
  const Decoder model(c);  // no values: its parameters are only named
  const AttentionConfig& a = c.attention;
  const auto scores = 6.0 * static_cast<double>(a.n_heads * a.d_head * c.context);
  ModelCost cost;
  for (const Param& param : model.params().all())
    for (const ParamPart& part : param.parts) {
      PartCost& to = part_of(cost, part.name);
      to.parameters += part.shape.numel();
      if (part.multiplies()) to.flops += 6.0 * static_cast<double>(part.shape.numel());
      if (part.name.ends_with(".o_proj.weight")) to.flops += scores;  // one an attention layer
    }
  // The head is a product by its own matrix or by the embedding's, for the positions that count.
  const auto counted = static_cast<double>(c.context - loss_from_position + 1) / static_cast<double>(c.context);
  cost.head.flops = 6.0 * static_cast<double>(c.vocab_size * c.d_model) * counted;
  return cost;
}

std::int64_t ModelCost::parameters() const {
  std::int64_t sum = 0;
  for (const PartCost& part : parts()) sum += part.parameters;
  return sum;
}

double ModelCost::flops() const {
  double sum = 0;
  for (const PartCost& part : parts()) sum += part.flops;
  return sum;
}

}  // namespace spikesink
