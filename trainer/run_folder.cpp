#include "trainer/run_folder.h"

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "io/failure.h"
#include "io/json_lines.h"
#include "io/tensorboard.h"

namespace spikesink {
namespace fs = std::filesystem;

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

void RunFolder::open(bool resume) const {
  std::error_code error;
  if (!resume && (fs::exists(config(), error) || fs::exists(metrics(), error)))
    throw UsageError(path_ + ": has a run already; go on with --resume, choose another run.name, or remove the folder");
  for (const std::string& folder : {path_, probes(), checkpoints()})
    if (fs::create_directories(folder, error); error)
      throw UsageError(folder + ": cannot be made: " + error.message() + "; choose another run.dir");
}

void RunFolder::cut_back(std::int64_t step) const {
  if (fs::exists(metrics()))
    cut_back_json_lines(metrics(), [step](const nlohmann::json& line) {
      const auto at = line.find("step");
      return at != line.end() && at->is_number_integer() && at->get<std::int64_t>() <= step;
    });
  if (fs::exists(tensorboard())) cut_back_events(tensorboard(), step);
  for (const auto& entry : fs::directory_iterator(probes())) {
    const auto at = step_of(entry.path().stem().string());
    if (!at || *at > step || entry.path().extension() != ".h5") fs::remove(entry.path());
  }
}

}  // namespace spikesink
