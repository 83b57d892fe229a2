#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "kernels/linear/linear.h"
#include "models/decoder.h"
#include "models/sample_loss.h"

namespace spikesink {

/// Logits (S T, V) of sequences of T tokens, in one pass without gradients.
inline Tensor logits_of(const Stream& stream, const Decoder& model, std::span<const std::int32_t> tokens,
                        std::int64_t T, std::optional<std::int32_t> end_of_text = std::nullopt) {
  const auto N = static_cast<std::int64_t>(tokens.size());
  Batch batch{N / T, T};
  if (end_of_text) batch.document_starts = upload_ids(stream, document_starts(tokens, T, *end_of_text));
  Pass pass(stream, batch, Pass::Mode::kForwardOnly);
  const Tensor hidden = model.hidden(pass, upload_ids(stream, tokens)).value;

  const ModelConfig& config = model.config();
  const auto& params = model.params().all();
  const auto head = std::find_if(params.begin(), params.end(), [&](const Param& param) {
    return param.name() == (config.tie_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
  });
  require(head != params.end(), "logits_of: the model has no head");
  const Tensor logits = stream.empty({N, config.vocab_size}, hidden.dtype());
  kernels::linear_forward(stream, {.y = logits, .x = hidden, .weight = head->value});
  return logits;
}

}  // namespace spikesink
