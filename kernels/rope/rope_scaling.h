#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>

#include "kernels/core/check.h"

namespace spikesink::kernels {

/// How rotary frequencies are changed for contexts longer than `original_context`, which a model was first trained on.
/// kLinear: all are divided by `factor` (Chen et al. 2023, arXiv:2306.15595). kLlama3: those that turn less than
/// `low_freq_factor` times in it are, those that turn more than `high_freq_factor` times are kept, and in between the
/// two are mixed (Llama 3.1: Grattafiori et al. 2024, arXiv:2407.21783; the formula is that of its code).
struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;
  std::int64_t original_context = 8192;
};

inline void require_scaling(const RopeScaling& s) {
  require(s.factor > 0 && s.low_freq_factor > 0 && s.high_freq_factor > s.low_freq_factor && s.original_context > 0,
          "rope scaling: factor ", s.factor, ", from ", s.low_freq_factor, " to ", s.high_freq_factor, " turns in ",
          s.original_context);
}

/// Radians a position of pair i of a head of D channels: theta^(-2 i / D), scaled.
inline double rope_frequency(std::int64_t i, std::int64_t d_head, double theta, const RopeScaling& scaling) {
  const double plain = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(d_head));
  if (scaling.kind == RopeScaling::Kind::kNone) return plain;
  const double slow = plain / scaling.factor;
  if (scaling.kind == RopeScaling::Kind::kLinear) return slow;
  const double turns = static_cast<double>(scaling.original_context) * plain / (2 * std::numbers::pi);
  if (turns < scaling.low_freq_factor) return slow;
  if (turns > scaling.high_freq_factor) return plain;
  const double mix = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - mix) * slow + mix * plain;
}

}  // namespace spikesink::kernels
