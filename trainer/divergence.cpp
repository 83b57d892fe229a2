#include "trainer/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "io/json_integer.h"
#include "io/json_lines.h"
#include "io/listing.h"
#include "trainer/config.h"

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
  if (!is_there(file)) return;
  const nlohmann::ordered_json line{{"step", step}, {"kind", "resumed"}, {"samples", samples_of(data_step, sequences)}};
  JsonLines(file).append(line.dump());
}

std::set<std::int64_t> skipped_steps(const std::string& file) {
  std::set<std::int64_t> steps;
  for_each_json_line(file, [&](const nlohmann::json& line) {
    const auto at = integer_of<std::int64_t>(line.at("step"));
    const auto action = line.value("action", "");
    if (line.at("kind") == "not_finite" && action == "skip") steps.insert(at);
    const auto back = line.at("kind") == "resumed" ? at : rolled_back_to(action);
    if (back) steps.erase(steps.upper_bound(*back), steps.end());
  });
  return steps;
}

WayToStep way_to(std::int64_t step, const std::string& file, std::int64_t from, std::int64_t skipped,
                 std::int64_t most) {
  most = std::min(most, kMostSteps);  // by which no sum here is too large
  WayToStep last{.ahead = {{from, skipped}}, .diverged = {}};
  std::optional<std::map<std::int64_t, std::int64_t>> when_diverged;
  std::int64_t most_ahead = skipped;                            // of the data
  const auto goes_on = [&](std::int64_t at, std::int64_t by) {  // what came behind it is gone
    auto& ahead = last.ahead;
    if (at >= from && by < (at == from ? skipped : std::prev(ahead.lower_bound(at))->second)) return;
    ahead.erase(ahead.lower_bound(at), ahead.end());
    last.logged = std::min(last.logged, at);
    if (at < from)
      ahead[from] = skipped;  // the checkpoint was made on the way
    else if (at < step)
      ahead[at] = by;
  };
  for_each_json_line(file, [&](const nlohmann::json& line) {
    const auto at = integer_of<std::int64_t>(line.at("step"));
    const auto data_step = integer_of<std::int64_t>(line.at("samples").at("data_step"));
    const bool resumed = line.at("kind") == "resumed";
    if (!resumed && line.at("kind") != "not_finite") return;
    if (at < 0 || at > most || data_step < (resumed ? at : at - 1) || data_step - at > most_ahead) return;
    const std::int64_t ahead = data_step - at;
    if (resumed) {
      goes_on(at, ahead);
      return;
    }
    if (at == step) {
      last.diverged = line.value("where", "");
      last.logged = step;
      when_diverged.reset();
      if (last.data_step(step) == step + ahead)
        when_diverged = last.ahead;
      else if (ahead + 1 >= skipped)  // lines before are lost
        when_diverged.emplace()[from] = ahead + 1;
    }
    const auto to = rolled_back_to(line.at("action").get<std::string>());
    if (!to || *to >= at) return;
    goes_on(*to, at + ahead + 1 - *to);
    most_ahead += most;
  });
  if (when_diverged)
    last.ahead = *when_diverged;
  else
    last.logged = step;
  return last;
}

std::optional<LossSpike> LossWatch::look(double loss) {
  if (threshold_ == 0) return std::nullopt;
  std::optional<LossSpike> found;
  if (losses_.size() >= kFewest) {
    double sum = 0, squares = 0;
    for (const double each : losses_) sum += each;
    const double n = static_cast<double>(losses_.size()), mean = sum / n;
    for (const double each : losses_) squares += (each - mean) * (each - mean);
    // Losses that are all equal deviate by what f32 may have rounded off.
    const double deviation = std::max(std::sqrt(squares / n), 1e-7 * std::abs(mean)), above = loss - mean;
    if (deviation > 0 && above > threshold_ * deviation) found = LossSpike{above / deviation, losses_.size()};
  }
  losses_.push_back(loss);
  if (losses_.size() > kWindow) losses_.pop_front();
  return found;
}

}  // namespace spikesink
