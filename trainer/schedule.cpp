#include "trainer/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace spikesink {
namespace {
/// How much of the way from `begin` to `end` is behind `step`, in [0, 1].
double progress(std::int64_t step, std::int64_t begin, std::int64_t end) {
  if (step <= begin) return 0;
  return std::min(1.0, static_cast<double>(step - begin) / static_cast<double>(std::max<std::int64_t>(end - begin, 1)));
}
}  // namespace

double learning_rate(const OptimizerConfig& optimizer, const ScheduleConfig& s, std::int64_t step, std::int64_t total) {
  if (step < s.warmup_steps) return optimizer.lr * static_cast<double>(step) / static_cast<double>(s.warmup_steps);
  const auto between = [&](double share) { return optimizer.lr * (s.min_ratio + (1 - s.min_ratio) * share); };
  switch (s.kind) {
    case ScheduleKind::kConstant:
      return optimizer.lr;
    case ScheduleKind::kCosine:
      return between((1 + std::cos(std::numbers::pi * progress(step, s.warmup_steps, total))) / 2);
    case ScheduleKind::kLinear:
      return between(1 - progress(step, s.warmup_steps, total));
    case ScheduleKind::kWsd: {
      const auto decay = static_cast<std::int64_t>(std::llround(s.decay_share * static_cast<double>(total)));
      return between(1 - progress(step, std::max(s.warmup_steps, total - decay), total));
    }
  }
  return optimizer.lr;
}

std::string doubt_about(const ScheduleConfig& s, std::int64_t total) {
  if (total > 0 && s.warmup_steps > total)
    return fmt::format(
        "train.schedule.warmup_steps: {} of a run of {} steps: the learning rate never comes to train.optimizer.lr; "
        "lower it",
        s.warmup_steps, total);
  return "";
}

}  // namespace spikesink
