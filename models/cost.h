#pragma once
#include <array>
#include <cstdint>

#include "models/config.h"

namespace spikesink {

/// What one part of a model costs.
struct PartCost {
  std::int64_t parameters = 0;
  double flops = 0;  ///< of training, forward and backward, a token of input
};

/// The cost of a model, from the parameters that its decoder declares. FLOPs are those of matrix products: 6 a
/// parameter of a matrix that every token meets, and 6 * (n_heads * d_head) * context an attention layer for scores and
/// values, causal attention counted once. Lookups, norms, sigmoids and other work an element count 0.
struct ModelCost {
  PartCost embedding;  ///< the table and its learned scale
  PartCost attention;  ///< q, k, v, o, scores and values
  PartCost gates;      ///< of every attention layer
  PartCost ffn;        ///< of kind attention too: what stands in the FFN's place
  PartCost norms;      ///< of blocks, queries and keys, and the final one
  PartCost head;       ///< tied, it has no parameters of its own

  static constexpr std::array kPartNames = {"embedding", "attention", "gates", "ffn", "norms", "head"};
  std::array<PartCost, 6> parts() const { return {embedding, attention, gates, ffn, norms, head}; }

  std::int64_t parameters() const;
  double flops() const;
};

/// With `loss_from_position` (1-based) the head is computed for the positions that the loss counts only.
ModelCost cost_of(const ModelConfig& config, std::int64_t loss_from_position = 1);

}  // namespace spikesink
