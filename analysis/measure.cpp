#include "analysis/measure.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "analysis/observers.h"
#include "models/sample_loss.h"

namespace spikesink {
double Measurement::perplexity() const { return std::exp(loss); }

Measurement measure(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                    const MeasureOptions& options) {
  const std::int64_t context = options.context.value_or(model.config().context), row = context + 1;
  const auto total = static_cast<std::int64_t>(samples.size()) / row;
  require(total > 0 && total * row == static_cast<std::int64_t>(samples.size()), "measure: ", samples.size(),
          " tokens are not whole rows of ", row);
  Measurement out;

  SinkObserver sinks_context(stream, options.metrics.sink_epsilon);
  SpikeObserver spikes(stream, model.blocks(), context, options.metrics.spike);
  GateObserver gates(stream);
  Observers all({&sinks_context, &spikes, &gates});
  out.loss = mean_loss(stream, model, samples,
                       {.context = context,
                        .micro_batch = options.micro_batch,
                        .loss_from_position = options.loss_from_position,
                        .end_of_text = options.end_of_text},
                       &all);
  out.sinks_context = sinks_context.figures();
  out.spikes = spikes.figures();
  out.gates = gates.figures();

  const std::int64_t length = std::min(options.metrics.sink_length, context);
  if (length == context) {
    out.sinks = out.sinks_context;
    return out;
  }
  // Short sequences, so more of them at a time.
  const std::int64_t at_once = std::max<std::int64_t>(options.micro_batch * context / length, 1);
  SinkObserver sinks(stream, options.metrics.sink_epsilon);
  for_passes(stream, total, at_once, [&](std::int64_t first, std::int64_t B) {
    std::vector<std::int32_t> tokens;
    tokens.reserve(static_cast<std::size_t>(B * length));
    for (std::int64_t b = 0; b < B; ++b) {
      const auto sample = samples.begin() + (first + b) * row;
      tokens.insert(tokens.end(), sample, sample + length);
    }
    const Tensor starts =
        options.end_of_text ? upload_ids(stream, document_starts(tokens, length, *options.end_of_text)) : Tensor{};
    Pass pass(stream, {B, length, starts}, Pass::Mode::kForwardOnly, &sinks);
    model.hidden(pass, upload_ids(stream, tokens));
  });
  out.sinks = sinks.figures();
  return out;
}

}  // namespace spikesink
