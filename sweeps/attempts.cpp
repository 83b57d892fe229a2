#include "sweeps/attempts.h"

#include <nlohmann/json.hpp>

#include "io/json_integer.h"
#include "io/json_lines.h"
#include "io/json_text.h"

namespace spikesink {
namespace {

void take(std::vector<Attempt>& attempts, const nlohmann::json& line) {
  const std::string event = line.at("event");
  const double time = line.at("time");
  if (event == "start") {
    attempts.push_back({.began = time,
                        .host = line.value("host", ""),
                        .job = line.value("job", ""),
                        .process = line.contains("process") ? integer_of<std::int64_t>(line["process"]) : 0,
                        .ended = std::nullopt,
                        .code = std::nullopt});
  } else if (event == "end" && !attempts.empty() && !attempts.back().ended) {
    attempts.back().code = integer_of<int>(line.at("code"));
    attempts.back().ended = time;
  }
}

}  // namespace

std::vector<Attempt> read_attempts(const std::string& file) {
  std::vector<Attempt> attempts;
  for_each_json_line(file, [&](const nlohmann::json& line) { take(attempts, line); });
  return attempts;
}

void note_start(const std::string& file, const Attempt& attempt) {
  nlohmann::ordered_json line{{"event", "start"}, {"time", attempt.began}, {"host", attempt.host}};
  if (!attempt.job.empty()) line["job"] = attempt.job;
  if (attempt.process != 0) line["process"] = attempt.process;
  JsonLines(file).append(json_text(line));
}

void note_end(const std::string& file, double time, int code) {
  JsonLines(file).append(nlohmann::ordered_json{{"event", "end"}, {"time", time}, {"code", code}}.dump());
}

}  // namespace spikesink
