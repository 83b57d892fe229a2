#pragma once
#include <cstdint>
#include <string>

#include "trainer/config.h"

namespace spikesink {

/// The learning rate of optimizer step `step` (1-based) out of `total`. Warm-up is linear: step w of W takes w / W of
/// the peak. After it cosine and linear fall to min_ratio at the last step; wsd stays at the peak and falls linearly
/// over the last decay_share of all steps (Hu et al. 2024, arXiv:2404.06395).
double learning_rate(const OptimizerConfig& optimizer, const ScheduleConfig& schedule, std::int64_t step,
                     std::int64_t total);

/// What of the schedule may not be meant in a run of `total` steps, in one line; or empty.
std::string doubt_about(const ScheduleConfig& schedule, std::int64_t total);

}  // namespace spikesink
