#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/measure.h"
#include "trainer/probe.h"

namespace spikesink {

/// The scalars of a measurement under their public names: perplexity, sink_ratio, sink_first, first_token_mass, the
/// same three with the suffix _context, spike_max, spike_mean, spike_ratio; gate_mean, gate_closed where there are
/// gates.
Scalars scalars_of(const Measurement& measurement);

/// Writes the figures by block, head and channel (docs/file-formats.md) to an HDF5 file, whole or not at all.
/// DataError.
void write_probe_file(const std::string& file, std::int64_t step, const Measurement& measurement);

/// The probe of a run: measures the model on the same held-out samples every time.
class ModelProbe final : public Probe {
 public:
  /// `samples` (n, context + 1).
  ModelProbe(const Stream& stream, const Decoder& model, std::vector<std::int32_t> samples,
             const MeasureOptions& options)
      : stream_(stream), model_(model), samples_(std::move(samples)), options_(options) {}

  Scalars measure(std::int64_t step, const std::string& file) override;

 private:
  const Stream& stream_;
  const Decoder& model_;
  std::vector<std::int32_t> samples_;
  MeasureOptions options_;
};

}  // namespace spikesink
