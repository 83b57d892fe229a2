#pragma once
#include <cstdint>
#include <string>

namespace spikesink {

/// What counts as a massive activation. Source: Sun et al. 2024, arXiv:2402.17762.
struct SpikeConfig {
  double abs = 100;
  double ratio = 1000;

  /// A magnitude above it is massive. NaN, above which nothing is, where the median is.
  double bound(double median) const { return abs > ratio * median ? abs : ratio * median; }

  void fields(auto&& v) {
    v("abs", abs, "an activation is massive above this magnitude ...");
    v("ratio", ratio, "... and above this multiple of the block's median magnitude");
  }
};

/// The keys of `metrics:` that the probe reads.
struct ProbeConfig {
  std::int64_t sequences = 100;
  double sink_epsilon = 0.3;
  std::int64_t sink_length = 64;
  SpikeConfig spike;

  void fields(auto&& v) {
    v("sequences", sequences, "held-out sequences of model.context tokens that a probe reads, always the same");
    v("sink_epsilon", sink_epsilon, "a head is a sink head if a position gets more than this share of its attention");
    v("sink_length", sink_length, "sink ratio: the first so many tokens of each sequence");
    v("spike", spike, "what counts as a massive activation");
  }
};

/// One line naming the key, the reason and the mend, or empty.
std::string problem_of(const ProbeConfig& config);

}  // namespace spikesink
