#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "analysis/config.h"
#include "analysis/gates.h"
#include "analysis/sinks.h"
#include "analysis/spikes.h"
#include "models/decoder.h"

namespace spikesink {

/// What is measured, and how it goes through the model.
struct MeasureOptions {
  ProbeConfig metrics;
  std::int64_t micro_batch = 1;                            ///< sequences a pass
  std::int64_t loss_from_position = 1;                     ///< 1-based first position that the loss counts
  std::optional<std::int32_t> end_of_text = std::nullopt;  ///< as SampleShape's: attention stays inside documents
  std::optional<std::int64_t> context = std::nullopt;      ///< tokens of a sequence; absent: the model's context
};

/// A model's figures on fixed sequences.
struct Measurement {
  double loss = 0;            ///< mean over counted positions at the context, nats a token
  SinkFigures sinks;          ///< at T = min(sink_length, context)
  SinkFigures sinks_context;  ///< at T = context
  SpikeFigures spikes;        ///< at T = context
  /// At T = context; absent where the model has no gates.
  std::optional<GateFigures> gates = std::nullopt;

  double perplexity() const;  ///< exp(loss)
};

/// Measures `model` on `samples` (n, context + 1), n >= 1, context at most the model's. Figures at a shorter length are
/// of the first tokens of every sample.
Measurement measure(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                    const MeasureOptions& options);

}  // namespace spikesink
