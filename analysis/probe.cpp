#include "analysis/probe.h"

namespace spikesink {

Scalars scalars_of(const Measurement& m) {
  Scalars out{{"perplexity", m.perplexity()},
              {"sink_ratio", m.sinks.sink_ratio},
              {"sink_first", m.sinks.sink_first},
              {"first_token_mass", m.sinks.first_token_mass},
              {"sink_ratio_context", m.sinks_context.sink_ratio},
              {"sink_first_context", m.sinks_context.sink_first},
              {"first_token_mass_context", m.sinks_context.first_token_mass},
              {"spike_max", m.spikes.spike_max},
              {"spike_mean", m.spikes.spike_mean},
              {"spike_ratio", m.spikes.spike_ratio}};
  if (m.gates) out.insert(out.end(), {{"gate_mean", m.gates->gate_mean}, {"gate_closed", m.gates->gate_closed}});
  return out;
}

Scalars ModelProbe::measure(std::int64_t step, const std::string& file) {
  const Measurement measurement = spikesink::measure(stream_, model_, samples_, options_);
  if (!file.empty()) write_probe_file(file, step, measurement);
  return scalars_of(measurement);
}

}  // namespace spikesink
