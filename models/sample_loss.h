#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "models/decoder.h"

namespace spikesink {

/// How sequences go through the model.
struct SampleShape {
  std::int64_t context;             ///< T
  std::int64_t micro_batch;         ///< sequences a pass
  std::int64_t loss_from_position;  ///< 1-based
  /// The token that ends a document, where attention is to stay inside one; absent: it may cross.
  std::optional<std::int32_t> end_of_text = std::nullopt;
};

/// The first position of the document that every row of `tokens` (N) lies in: the one after the last end of text before
/// it, or 0. -> i32 (N), for Batch::document_starts.
Tensor document_starts(const Stream& stream, const Tensor& tokens, const Batch& batch, std::int32_t end_of_text);

/// Forward and backward of `samples` (n, T + 1): inputs are the first T tokens of a row, targets the last T. Gradients
/// of the mean loss over all counted tokens are added to the model's. Returns that mean, in nats.
double accumulate_gradients(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                            const SampleShape& shape);

/// The mean loss of `samples` over counted tokens, forward only; `observer` sees every pass.
double mean_loss(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                 const SampleShape& shape, Observer* observer = nullptr);

}  // namespace spikesink
