#include "trainer/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/json_lines.h"
#include "io/tensorboard.h"
#include "trainer/metrics_log.h"
#include "trainer/run_log.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

/// Calls f with the path of every entry of a folder; entries may be removed meanwhile. A folder that is not there has
/// none.
void for_each_entry(const std::string& folder, auto&& f) {
  std::error_code error;
  std::vector<fs::path> paths;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    paths.push_back(at->path());
  for (const fs::path& path : paths) f(path);
}

}  // namespace

std::string RunFolder::step_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%08lld", static_cast<long long>(step));
  return name;
}

std::optional<std::int64_t> RunFolder::step_of(const std::string& name) {
  constexpr std::string_view kPrefix = "step_";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const char *begin = name.data() + kPrefix.size(), *end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(begin, end, step);
  if (error != std::errc{} || rest != end || step < 0) return std::nullopt;
  return step;
}

void RunFolder::make() const {
  std::error_code error;
  for (const std::string& folder : {path_, probes(), checkpoints()})
    if (fs::create_directories(folder, error); error)
      throw UsageError(folder + ": cannot be made: " + error.message() + "; choose another run.dir");
}

void RunFolder::require_new() const {
  std::error_code error;
  if (fs::exists(config(), error) || fs::exists(metrics(), error))
    throw UsageError(path_ + ": has a run already; go on with --resume, or choose another run.name");
}

void RunFolder::remove_unfinished() const {
  for (const std::string& folder : {path_, probes(), checkpoints()})
    for_each_entry(folder, [](const fs::path& path) {
      const std::string name = path.filename().string();
      std::error_code error;
      if (name.starts_with(".unfinished.") || name.ends_with(".unfinished")) fs::remove_all(path, error);
    });
}

std::vector<std::string> RunFolder::cut_back(std::int64_t step, bool probe_too, std::int64_t logged_every) const {
  const auto stays = [&](std::int64_t at, bool is_probe) {
    return at < step || (at == step && !(probe_too && is_probe));
  };
  std::int64_t last = 0, before = 0;  // logged steps
  const auto fate = [&](const nlohmann::json& line) {
    const auto at = line.find("step");
    if (at == line.end() || !at->is_number_integer()) return LineFate::kDamaged;
    const auto event = line.value("event", nlohmann::json());
    if (!stays(at->get<std::int64_t>(), event == "probe")) return LineFate::kGoes;
    if (event.is_null()) before = std::exchange(last, at->get<std::int64_t>());
    return LineFate::kStays;
  };
  // Nothing goes before its copy is on the disk: who is killed between the two keeps it twice.
  const auto keep = [this](std::string_view lines) {
    FileDescriptor file = FileDescriptor::open(metrics() + ".damaged", O_WRONLY | O_APPEND | O_CREAT);
    file.append(lines);
    file.sync();
  };
  std::error_code error;
  const std::int64_t damaged = fs::exists(metrics(), error) ? cut_back_json_lines(metrics(), fate, keep) : 0;
  std::vector<std::string> notes;
  if (fs::exists(tensorboard(), error))
    notes = cut_back_events(tensorboard(), step, probe_too ? MetricsLog::kProbeTags : "");
  for_each_entry(probes(), [&](const fs::path& path) {
    const auto at = step_of(path.stem().string());
    std::error_code failed;
    if (at && !stays(*at, true) && path.extension() == ".h5" && !fs::remove(path, failed))
      throw DataError(path.string() + ": cannot be removed: " + failed.message() + "; the run goes on from step " +
                      std::to_string(step) + " and writes it again");
  });
  if (damaged > 0)
    notes.push_back(
        fmt::format("{}: {} left out, kept in {}.damaged", metrics(), counted(damaged, "damaged line"), metrics()));
  // They may have been logged less often before.
  if (logged_every > 0 && step - last > std::max(logged_every, last - before))
    notes.push_back(fmt::format("{}: has no steps between {} and {}, from which the run goes on: they were lost",
                                metrics(), last, step));
  return notes;
}

void RunFolder::sync_logs() const {
  std::error_code error;
  std::vector<std::string> paths{metrics(), divergences()};
  for_each_entry(tensorboard(), [&](const fs::path& path) { paths.push_back(path.string()); });
  paths.insert(paths.end(), {tensorboard(), path_});  // which have their names
  for (const std::string& path : paths)
    if (fs::exists(path, error)) FileDescriptor::open(path, O_RDONLY).sync();
}

std::int64_t RunFolder::last_step() const {
  std::int64_t last = 0;
  for_each_entry(checkpoints(),
                 [&](const fs::path& path) { last = std::max(last, step_of(path.filename().string()).value_or(0)); });
  for (const std::string& file : {metrics(), divergences()}) {
    std::ifstream in(file, std::ios::binary);
    for (std::string text; std::getline(in, text);) {
      const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
      if (const auto at = line.find("step"); line.is_object() && at != line.end() && at->is_number_integer())
        last = std::max(last, at->get<std::int64_t>());
    }
  }
  return last;
}

}  // namespace spikesink
