#include "analysis/study/distribution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace spikesink {

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

nlohmann::ordered_json distribution(std::vector<double> values) {
  const bool is_known = std::ranges::none_of(values, [](double value) { return std::isnan(value); });
  if (!is_known) values.assign(1, std::numeric_limits<double>::quiet_NaN());
  std::ranges::sort(values);
  const auto at = [&](double share) {
    if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place), above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - std::floor(place)) * (values[above] - values[below]);
  };
  return {{"mean", mean_of(values)}, {"min", at(0)},   {"q1", at(0.25)},
          {"median", at(0.5)},       {"q3", at(0.75)}, {"max", at(1)}};
}

}  // namespace spikesink
