#include "sweeps/run_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"
#include "io/listing.h"

namespace spikesink {
namespace {
constexpr std::size_t kSteps = 20;

Figures figures_of(const nlohmann::json& line) {
  Figures figures;
  for (const auto& [name, value] : line.items())
    if (value.is_number()) figures.emplace(name, value.get<double>());
  return figures;
}

double median(std::deque<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}
}  // namespace

RunMetrics read_run_metrics(const std::string& file) {
  RunMetrics metrics;
  if (!is_there(file)) return metrics;
  const std::string text = read_file(file);
  std::deque<double> rates;
  std::size_t number = 0, damaged = 0, first_damaged = 0;
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    ++number;
    const nlohmann::json line =
        nlohmann::json::parse(std::string_view(text).substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) {
      if (damaged++ == 0) first_damaged = number;
      continue;
    }
    if (line.contains("event")) {
      if (line["event"] == "probe") metrics.probe = figures_of(line);
      continue;
    }
    metrics.step = figures_of(line);
    if (const auto rate = metrics.step.find("tokens_per_second"); rate != metrics.step.end()) {
      rates.push_back(rate->second);
      if (rates.size() > kSteps) rates.pop_front();
    }
  }
  if (damaged > 0)
    metrics.problem = fmt::format("{}:{}: not a line of metrics{}; left out", file, first_damaged,
                                  damaged > 1 ? fmt::format(", nor are {} more", damaged - 1) : "");
  metrics.tokens_per_second = median(std::move(rates));
  return metrics;
}

}  // namespace spikesink
