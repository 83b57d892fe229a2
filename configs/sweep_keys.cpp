#include "configs/sweep_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <set>

#include "configs/scalars.h"
#include "configs/schema.h"

namespace spikesink {
namespace {

std::string problem_of_counts(const SweepKeys& keys) {
  struct Count {
    const char* key;
    std::optional<std::int64_t> value;
    std::int64_t least, most = 1000000;
  };
  const SlurmConfig& s = keys.slurm;
  const std::array counts = {Count{"local.jobs", keys.local.jobs, 1},
                             Count{"local.ranks", keys.local.ranks, 1},
                             Count{"slurm.nodes", s.nodes, 1},
                             Count{"slurm.tasks_per_node", s.tasks_per_node, 1},
                             Count{"slurm.gpus_per_node", s.gpus_per_node, 0},
                             Count{"slurm.cpus_per_task", s.cpus_per_task, 1},
                             Count{"slurm.throttle", s.throttle, 0},
                             Count{"slurm.stop_seconds", s.stop_seconds, 1, 65535}};  // what --signal takes
  for (const auto& [key, value, least, most] : counts) {
    if (value && *value < least) return fmt::format("{}: {}, must be at least {}", key, *value, least);
    if (value && *value > most) return fmt::format("{}: {}, must be at most {}", key, *value, most);
  }
  return {};
}

std::string problem_of(const SlurmConfig& c) {
  const auto seconds = slurm_seconds(c.time);
  if (!seconds)
    return fmt::format(
        "slurm.time: {} is no time limit; write minutes, hours:minutes:seconds or days-hours, e.g. \"{}\"",
        quoted(c.time), "12:00:00");
  if (c.stop_seconds >= *seconds)
    return fmt::format("slurm.time: {} seconds, must be more than slurm.stop_seconds {}, by which runs stop before it",
                       *seconds, c.stop_seconds);
  if (c.launcher == SlurmLauncher::kNone && c.nodes * c.tasks_per_node > 1)
    return fmt::format("slurm.launcher: none starts one rank, but nodes * tasks_per_node is {}; use srun or mpirun",
                       c.nodes * c.tasks_per_node);
  return {};
}

}  // namespace

std::string problem_of(const SweepKeys& keys) {
  if (keys.name && !is_file_name(*keys.name)) return fmt::format("name: {} {}", quoted(*keys.name), kFileNameRule);
  if (keys.dir && keys.dir->empty()) return "dir: empty; the current folder is \".\"";
  if (keys.dir && keys.dir->starts_with('-'))  // programs would take it for an option
    return fmt::format("dir: {} begins with -; write ./{}", quoted(*keys.dir), *keys.dir);
  if (keys.base && keys.base->empty()) return "base: empty; name a config file, or remove the key";
  std::set<std::int64_t> seeds;
  for (const std::int64_t seed : keys.seeds)
    if (!seeds.insert(seed).second) return fmt::format("seeds: {} is given twice", seed);
  for (std::string problem : {problem_of_counts(keys), problem_of(keys.slurm)})
    if (!problem.empty()) return problem;
  return {};
}

bool is_in_file_name(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 128 && (std::isalnum(byte) || c == '.' || c == '_' || c == '+' || c == '-');
}

bool is_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 100 && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), is_in_file_name);
}

std::optional<std::int64_t> slurm_seconds(std::string_view time) {
  constexpr std::size_t kLongest = 7;  // digits; then no sum overflows
  std::optional<std::int64_t> days;
  std::vector<std::int64_t> parts;
  while (true) {
    const std::size_t end = std::min(time.find_first_of(":-"), time.size());
    std::int64_t value = 0;
    const auto [rest, error] = std::from_chars(time.data(), time.data() + end, value);
    if (end == 0 || end > kLongest || error != std::errc{} || rest != time.data() + end) return std::nullopt;
    if (end < time.size() && time[end] == '-') {
      if (days || !parts.empty()) return std::nullopt;
      days = value;
    } else {
      parts.push_back(value);
    }
    if (end == time.size()) break;
    time.remove_prefix(end + 1);
  }
  if (parts.empty() || parts.size() > 3) return std::nullopt;
  // With days the first part is hours; else one part is minutes, two are minutes and seconds.
  if (!days && parts.size() < 3) parts.insert(parts.begin(), 0);
  parts.resize(3);
  const std::int64_t seconds = days.value_or(0) * 86400 + parts[0] * 3600 + parts[1] * 60 + parts[2];
  return seconds > 0 ? std::optional(seconds) : std::nullopt;
}

}  // namespace spikesink
