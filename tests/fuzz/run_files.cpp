// What a run leaves and others read, or it itself when it goes on: lines of metrics, notes of attempts, TensorBoard's
// events.
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/json_lines.h"
#include "io/tensorboard.h"
#include "kernels/core/check.h"
#include "sweeps/attempts.h"
#include "sweeps/run_metrics.h"
#include "tests/fuzz/target.h"
#include "trainer/divergence.h"

namespace spikesink::fuzz {
namespace {

void read_lines(std::string_view input) {
  const std::string file = write_scratch("metrics.jsonl", input);
  require(read_run_metrics(file).problem.find('\n') == std::string::npos, "a problem of several lines");
  for (const Attempt& attempt : read_attempts(file))
    require(attempt.code.has_value() == attempt.ended.has_value(), "an end");

  const auto keep = [](const nlohmann::json& line) {
    return !line.is_object() || line.value("step", nlohmann::json()) <= 5 ? LineFate::kStays : LineFate::kGoes;
  };
  cut_back_json_lines(file, keep);
  const std::string cut = read_file(file);
  require(cut_back_json_lines(file, keep) == 0 && read_file(file) == cut, "what a cut leaves is damaged");
  JsonLines(file).append("{}");
  require(read_file(file) == cut + "{}\n", "a line after a cut is not a line of its own");
  write_scratch("metrics.jsonl", input);
  JsonLines(file).append("{}");
  const std::string whole = read_file(file);
  require(whole == "{}\n" || whole.ends_with("\n{}\n"), "a line after a torn one is lost with it");
}

void read_divergences(std::string_view input) {
  const std::string file = write_scratch("divergences.jsonl", input);
  static_cast<void>(skipped_steps(file));
  for (const std::int64_t step : {4, 5, 6}) {
    const WayToStep way = way_to(step, file, 3, 2, 100);
    require(way.ahead.begin()->first == 3, "the way begins elsewhere");
    std::int64_t before = 4;
    for (std::int64_t at = 4; at <= step; before = way.data_step(at++))
      require(way.data_step(at) > before, "data ", way.data_step(at), " after ", before);
    require(before <= step + 1 + 100 * std::ssize(input), "data of step ", before);
  }
}

/// The record of an event file around `event`, with its checksums.
std::string framed(std::string_view event) {
  const auto raw = [](auto number) { return std::string(reinterpret_cast<const char*>(&number), sizeof number); };
  const auto sum = [&](std::string_view bytes) {
    const std::uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
    return raw(((crc >> 15) | (crc << 17)) + 0xA282EAD8U);
  };
  const std::string length = raw(std::uint64_t{event.size()});
  return length + sum(length) + std::string(event) + sum(event);
}

/// Behind an 'E' events, each behind its size in a byte, get sound frames; else the file is the input.
void read_events(std::string_view input) {
  std::string file(input);
  if (input.starts_with('E')) {
    file.clear();
    input.remove_prefix(1);
    while (!input.empty()) {
      const std::size_t size = static_cast<unsigned char>(input.front());
      file += framed(input.substr(1, size));
      input.remove_prefix(std::min(size + 1, input.size()));
    }
  }
  const std::string folder = scratch("events");
  std::filesystem::remove_all(folder);  // copies of what was damaged
  const std::string path = write_scratch("events/events.out.tfevents.1", file);
  const auto left = [&] { return std::filesystem::exists(path) ? read_file(path) : ""; };
  cut_back_events(folder, 5);
  const std::string cut = left();
  require(cut.size() <= file.size(), "a cut makes more of a file");
  cut_back_events(folder, 5);
  require(left() == cut, "a second cut takes more");
  drop_events(folder, "x");
  require(left().size() <= cut.size(), "dropping makes more of a file");
}

const Registration kLines{{"metrics", read_lines}}, kEvents{{"events", read_events}},
    kDivergences{{"divergences", read_divergences}};

}  // namespace
}  // namespace spikesink::fuzz
