#include "sweeps/status_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "io/readable.h"

namespace spikesink {
namespace {
constexpr std::size_t kNumColumns = 10, kLongestName = 36, kShortestName = 12;
using Line = std::array<std::string, kNumColumns>;
constexpr std::size_t kName = 0, kState = 1, kRemark = kNumColumns - 1;  // from the left; the others are numbers
constexpr std::array kPhases = {RunPhase::kFinished, RunPhase::kRunning, RunPhase::kQueued,
                                RunPhase::kWaiting,  RunPhase::kStopped, RunPhase::kFailed};

std::optional<double> find(const Figures& figures, std::string_view name) {
  const auto figure = figures.find(name);
  return figure == figures.end() ? std::nullopt : std::optional(figure->second);
}

std::string number(std::optional<double> value, const char* format, double factor = 1) {
  return value ? fmt::format(fmt::runtime(format), factor * *value) : "-";
}

std::string cut(const std::string& text, std::size_t width) {
  return text.size() <= width ? text : text.substr(0, width < 3 ? 0 : width - 3) + std::string("...").substr(0, width);
}

/// 45.2, 812, 12.3k
std::string magnitude(std::optional<double> value) {
  if (!value) return "-";
  return *value < 1000 ? fmt::format("{:.1f}", *value) : count_text(*value);
}

Line line_of(const SweepRun& run, const RunStatus& status) {
  const Figures &step = status.metrics.step, &probe = status.metrics.probe;
  const bool running = status.phase == RunPhase::kRunning;
  std::string remark = status.job;
  if (!status.reason.empty()) remark += (remark.empty() ? "" : ": ") + status.reason;
  return {run.name,
          std::string(name_of(status.phase)),
          fmt::format("{}/{}", status.step, status.total_steps),
          number(find(step, "loss"), "{:.3f}"),
          magnitude(find(probe, "perplexity")),
          number(find(probe, "sink_ratio"), "{:.1f} %", 100),
          magnitude(find(probe, "spike_max")),
          status.metrics.tokens_per_second > 0 ? count_text(status.metrics.tokens_per_second) : "-",
          running && status.seconds_left ? duration_text(*status.seconds_left) : "-",
          remark};
}

/// Cut by bytes: names and reasons are ASCII but for what a path holds.
std::string joined(const Line& line, const std::array<std::size_t, kNumColumns>& widths, std::size_t width) {
  std::string text;
  for (std::size_t i = 0; i < kRemark; ++i)
    text += fmt::format(fmt::runtime(i == kName || i == kState ? "{:<{}}  " : "{:>{}}  "), line[i], widths[i]);
  text += cut(line[kRemark], width > text.size() ? width - text.size() : 0);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

}  // namespace

std::string status_table(const std::vector<StatusOfRun>& runs, std::size_t width) {
  std::vector<Line> lines = {
      {"row", "state", "step", "loss", "perplexity", "sinks", "spike", "tokens/s", "left", "remark"}};
  for (const auto& [run, status] : runs) lines.push_back(line_of(*run, status));
  std::array<std::size_t, kNumColumns> widths{};
  for (const Line& line : lines)
    for (std::size_t i = 0; i < kNumColumns; ++i) widths[i] = std::max(widths[i], line[i].size());
  std::size_t others = 2;  // what stands beside the name, with the gaps; of the remark nothing
  for (std::size_t i = 0; i < kRemark; ++i)
    if (i != kName) others += widths[i] + 2;
  const std::size_t room = std::clamp(width - std::min(width, others), kShortestName, kLongestName);
  widths[kName] = std::min(widths[kName], room);
  std::string text;
  for (Line& line : lines) {
    line[kName] = cut(line[kName], widths[kName]);
    text += joined(line, widths, width);
  }
  return text + status_counts(runs) + "\n";
}

std::string status_counts(const std::vector<StatusOfRun>& runs) {
  std::string text = counted(static_cast<std::int64_t>(runs.size()), "run");
  const char* separator = ": ";
  for (const RunPhase phase : kPhases) {
    const auto count = std::ranges::count_if(runs, [&](const StatusOfRun& run) { return run.second.phase == phase; });
    if (count == 0) continue;
    text += fmt::format("{}{} {}", separator, count, name_of(phase));
    separator = ", ";
  }
  return text;
}

std::string status_json(const Sweep& sweep, const std::vector<StatusOfRun>& runs) {
  nlohmann::ordered_json json{{"name", sweep.name}, {"folder", sweep.folder()}, {"runs", nlohmann::json::array()}};
  for (const auto& [run, status] : runs) {
    nlohmann::ordered_json one{{"run", run->name},
                               {"seed", run->seed},
                               {"state", name_of(status.phase)},
                               {"step", status.step},
                               {"total_steps", status.total_steps}};
    for (const char* name : {"tokens", "loss"})
      if (const auto value = find(status.metrics.step, name)) one[name] = *value;
    if (status.metrics.tokens_per_second > 0) one["tokens_per_second"] = status.metrics.tokens_per_second;
    if (!status.metrics.probe.empty()) one["probe"] = status.metrics.probe;
    if (status.seconds_left) one["seconds_left"] = *status.seconds_left;
    if (!status.job.empty()) one["job"] = status.job;
    if (!status.reason.empty()) one["reason"] = status.reason;
    if (!status.metrics.problem.empty()) one["problem"] = status.metrics.problem;
    json["runs"].push_back(std::move(one));
  }
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace spikesink
