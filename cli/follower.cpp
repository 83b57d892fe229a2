#include "cli/follower.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "io/failure.h"
#include "sweeps/command.h"

namespace spikesink::cli {
namespace {
namespace fs = std::filesystem;
constexpr const char* kScript = "wandb_follow.py";
constexpr const char* kElsewhere =
    "take wandb out of metrics.loggers and run wandb_follow.py on the run's folder elsewhere";

/// In $SPIKESINK_SCRIPTS, else beside the build folder of a checkout or in a package (scripts/package.sh).
std::string find_script() {
  std::vector<fs::path> folders;
  std::error_code error;
  if (const char* named = std::getenv("SPIKESINK_SCRIPTS")) {
    folders = {named};
  } else {
    const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
    folders = {here.parent_path().parent_path() / "scripts", here.parent_path() / "scripts"};
  }
  for (const fs::path& folder : folders)
    if (const fs::path script = folder / kScript; fs::is_regular_file(script, error)) return script.string();
  std::string text;
  for (const fs::path& folder : folders) text += (text.empty() ? "" : " or ") + folder.string();
  throw UsageError(
      fmt::format("metrics.loggers: wandb needs {}, which is not in {}; set SPIKESINK_SCRIPTS to the folder "
                  "that has it, or {}",
                  kScript, text, kElsewhere));
}

std::string last_line_of(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

std::vector<std::string> wandb_command(const RunFolder& folder) {
  constexpr int kTooLong = 124, kNotFound = 127;
  const std::string script = find_script();
  const auto [code, out, err] = run_command({"timeout", "120", "python3", script, "--check"});
  if (code == kNotFound)
    throw UsageError(
        fmt::format("metrics.loggers: wandb needs python3, which is not on the PATH ({}); install it, or {}",
                    last_line_of(err), kElsewhere));
  if (code == kTooLong)
    throw UsageError(fmt::format(
        "metrics.loggers: `python3 {} --check` took longer than 120 s; see what keeps it, or {}", script, kElsewhere));
  if (code != 0)
    throw UsageError(fmt::format(
        "metrics.loggers: {}, or {}",
        err.empty() ? fmt::format("`python3 {} --check` ended with {}", script, code) : last_line_of(err), kElsewhere));
  return {"python3", script, folder.path(), "--from-run"};
}

}  // namespace spikesink::cli
