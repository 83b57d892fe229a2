#include "trainer/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/json_integer.h"
#include "io/json_lines.h"
#include "io/listing.h"
#include "trainer/config.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

/// The last step that lines of a file tell of; 0: none, or there is no such file.
std::int64_t last_step_of(const std::string& file) {
  std::int64_t last = 0;
  for_each_json_line(file, [&](const nlohmann::json& line) {
    if (const auto step = integer_of<std::int64_t>(line.at("step")); step <= kMostSteps) last = std::max(last, step);
  });
  return last;
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
  const std::errc error = std::from_chars(begin, end, step).ec;
  if (error != std::errc{} || step < 0 || step > kMostSteps || step_name(step) != name) return std::nullopt;
  return step;
}

void RunFolder::make() const {
  std::error_code error;
  for (const std::string& folder : {path_, probes(), checkpoints()}) {
    require_target(folder);
    if (fs::create_directories(folder, error); error)
      throw UsageError(folder + ": cannot be made: " + error.message() + "; choose another run.dir");
  }
}

void RunFolder::require_no_checkpoint() const {
  if (is_there(path_ + "/state.json"))
    throw UsageError(path_ +
                     ": is itself a checkpoint, as import makes it, on which training does not go; choose another "
                     "run.name");
}

void RunFolder::require_new() const {
  require_no_checkpoint();
  if (is_there(config()) || is_there(metrics()) || is_there(first_checkpoint()) || has_checkpoints())
    throw UsageError(path_ + ": has a run already; go on with --resume, or choose another run.name");
}

void RunFolder::remove_unfinished() const {
  for (const std::string& folder : {path_, probes(), checkpoints(), tensorboard()})
    for (const fs::path& path : entries_of(folder)) {
      const std::string name = path.filename().string();
      std::error_code error;
      if (name.starts_with(".unfinished.") || name.ends_with(".unfinished")) fs::remove_all(path, error);
    }
}

void RunFolder::sync_logs() const {
  std::vector<std::string> paths{metrics(), divergences()};
  for (const fs::path& path : entries_of(tensorboard())) paths.push_back(path.string());
  paths.insert(paths.end(), {tensorboard(), path_});  // which have their names
  for (const std::string& path : paths)
    if (is_there(path)) FileDescriptor::open(path, O_RDONLY).sync();
}

std::int64_t RunFolder::last_step() const {
  std::int64_t last = std::max(last_step_of(metrics()), last_step_of(divergences()));
  for (const fs::path& path : entries_of(checkpoints()))
    last = std::max(last, step_of(path.filename().string()).value_or(0));
  return last;
}

std::int64_t RunFolder::last_measured() const {
  std::int64_t last = last_step_of(metrics());
  for (const fs::path& path : entries_of(probes())) last = std::max(last, step_of(path.stem().string()).value_or(0));
  return last;
}

void RunFolder::note_checkpoint(std::int64_t step) const {
  if (!is_there(first_checkpoint())) write_atomically(first_checkpoint(), fmt::format("{{\"step\": {}}}\n", step));
}

bool RunFolder::has_checkpoints() const {
  return std::ranges::any_of(entries_of(checkpoints()), [](const fs::path& path) {
    const std::string name = path.filename().string();
    return name == "latest" || (name.starts_with("step_") && !name.ends_with(".unfinished"));
  });
}

}  // namespace spikesink
