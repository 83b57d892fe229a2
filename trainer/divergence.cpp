#include "trainer/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "io/json_integer.h"
#include "io/json_lines.h"

namespace spikesink {
namespace {

constexpr std::string_view kRollback = "rollback to step ";

/// The step that rollback_to() was made of, if it was.
std::optional<std::int64_t> rolled_back_to(std::string_view action) {
  if (!action.starts_with(kRollback)) return std::nullopt;
  std::int64_t step = 0;
  const char* end = action.data() + action.size();
  const auto [last, error] = std::from_chars(action.data() + kRollback.size(), end, step);
  return error == std::errc() && last == end && step >= 0 ? std::optional(step) : std::nullopt;
}

nlohmann::ordered_json samples_of(std::int64_t data_step, std::int64_t sequences) {
  return {{"data_step", data_step}, {"first", data_step * sequences}, {"count", sequences}};
}

}  // namespace

std::string rollback_to(std::int64_t step) { return fmt::format("{}{}", kRollback, step); }

std::string Divergence::to_json() const {
  nlohmann::ordered_json line{{"step", step}, {"kind", kind}, {"loss", loss}, {"grad_norm", grad_norm}};
  if (!where.empty()) line["where"] = where;
  if (deviations > 0) line["deviations"] = deviations;
  line["samples"] = samples_of(data_step, sequences);
  line["action"] = action;
  return line.dump();
}

void note_resumed(const std::string& file, std::int64_t step, std::int64_t data_step, std::int64_t sequences) {
  if (!std::filesystem::exists(file)) return;
  const nlohmann::ordered_json line{{"step", step}, {"kind", "resumed"}, {"samples", samples_of(data_step, sequences)}};
  JsonLines(file).append(line.dump());
}

DataAhead data_ahead(const std::string& file, std::int64_t step, std::int64_t from, std::int64_t skipped) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;  // steps: more than any run has
  DataAhead ahead{{from, skipped}};
  std::int64_t when_diverged = -1;
  const auto goes_on = [&](std::int64_t at, std::int64_t by) {  // what came behind it is gone
    ahead.erase(ahead.lower_bound(at), ahead.end());
    if (at < from)
      ahead[from] = skipped;  // the checkpoint was made on the way
    else if (at < step)
      ahead[at] = by;
  };
  std::ifstream in(file);
  for (std::string text; std::getline(in, text);) {
    try {
      const auto line = nlohmann::json::parse(text);
      const auto at = integer_of<std::int64_t>(line.at("step"));
      const auto data_step = integer_of<std::int64_t>(line.at("samples").at("data_step"));
      if (at < 0 || data_step < at - 1 || data_step > kMost) continue;  // nobody wrote that
      if (line.at("kind") == "resumed" && data_step >= at) goes_on(at, data_step - at);
      if (line.at("kind") != "not_finite") continue;
      if (at == step) when_diverged = data_step - (step - 1);
      const auto to = rolled_back_to(line.at("action").get<std::string>());
      if (to && *to < at) goes_on(*to, data_step + 1 - *to);
    } catch (const nlohmann::json::exception&) {  // half a line, of who was killed, or damage
    }
  }
  if (when_diverged >= skipped) return {{from, when_diverged}};
  return ahead;
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
