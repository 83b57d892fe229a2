#include "sweeps/direction.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace spikesink {
namespace {
bool exceeds(double difference, double step) {
  return std::abs(difference) > step * (1 + 1e-6);  // 10.1 - 10.0 is a step of 0.1, whatever the binary digits
}
}  // namespace

OverSeeds over_seeds(const std::vector<double>& values) {
  OverSeeds over;
  double squares = 0;
  for (const double value : values) {
    const double away = value - over.mean;
    over.mean += away / static_cast<double>(++over.count);
    squares += away * (value - over.mean);
  }
  if (over.count > 1) over.deviation = std::sqrt(squares / static_cast<double>(over.count - 1));
  return over;
}

std::string_view name_of(Direction direction) {
  return std::array{"none", "agrees", "differs", "unclear"}[static_cast<std::size_t>(direction)];
}

Direction direction_of(const Contrast& c) {
  if (!c.paper_row || !c.paper_baseline || c.row.count == 0 || c.baseline.count == 0) return Direction::kNone;
  const double papers = *c.paper_row - *c.paper_baseline;
  if (!exceeds(papers, c.paper_step)) return Direction::kNone;
  const double ours = c.row.mean - c.baseline.mean;
  double noise = c.step;
  if (c.row.count > 1 && c.baseline.count > 1) {
    const auto square = [](const OverSeeds& o) { return o.deviation * o.deviation / static_cast<double>(o.count); };
    noise = std::max(noise, 2 * std::sqrt(square(c.row) + square(c.baseline)));
  }
  if (!exceeds(ours, noise)) return Direction::kUnclear;
  return (ours > 0) == (papers > 0) ? Direction::kAgrees : Direction::kDiffers;
}

}  // namespace spikesink
