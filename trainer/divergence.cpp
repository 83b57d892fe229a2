#include "trainer/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/json_integer.h"

namespace spikesink {

std::string rollback_to(std::int64_t step) { return fmt::format("rollback to step {}", step); }

std::string Divergence::to_json() const {
  nlohmann::ordered_json line{{"step", step}, {"kind", kind}, {"loss", loss}, {"grad_norm", grad_norm}};
  if (!where.empty()) line["where"] = where;
  if (deviations > 0) line["deviations"] = deviations;
  line["samples"] = {{"data_step", data_step}, {"first", data_step * sequences}, {"count", sequences}};
  line["action"] = action;
  return line.dump();
}

std::int64_t skipped_before(std::int64_t step, const std::string& file, std::int64_t from, std::int64_t skipped) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;  // steps: more than any run has
  std::int64_t last = skipped, when_diverged = -1;
  std::ifstream in(file);
  for (std::string text; std::getline(in, text);) {
    try {
      const auto line = nlohmann::json::parse(text);
      if (line.at("kind") != "not_finite") continue;
      const auto failed = integer_of<std::int64_t>(line.at("step"));
      const auto data_step = integer_of<std::int64_t>(line.at("samples").at("data_step"));
      if (failed < 1 || data_step < failed - 1 || data_step > kMost) continue;  // nobody wrote that
      if (failed == step) when_diverged = data_step - (step - 1);
      if (line.at("action") == rollback_to(from)) last = std::max(last, data_step + 1 - from);
    } catch (const nlohmann::json::exception&) {  // half a line, of who was killed, or damage
    }
  }
  return when_diverged >= skipped ? when_diverged : last;
}

std::optional<double> LossWatch::look(double loss) {
  if (threshold_ == 0) return std::nullopt;
  std::optional<double> found;
  if (losses_.size() >= kFewest) {
    double sum = 0, squares = 0;
    for (const double each : losses_) sum += each;
    const double n = static_cast<double>(losses_.size()), mean = sum / n;
    for (const double each : losses_) squares += (each - mean) * (each - mean);
    const double deviation = std::sqrt(squares / n), above = loss - mean;
    if (above > threshold_ * deviation && above > 0) found = above / deviation;
  }
  losses_.push_back(loss);
  if (losses_.size() > kWindow) losses_.pop_front();
  return found;
}

}  // namespace spikesink
