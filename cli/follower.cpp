#include "cli/follower.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "io/failure.h"

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

std::string quoted_for_shell(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

struct Answer {
  int code;
  std::string last_line;
};
Answer ask(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "re");
  if (!pipe) throw UsageError(fmt::format("sh cannot be started: {}", std::strerror(errno)));
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  const int status = pclose(pipe);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text.substr(text.rfind('\n') + 1)};
}

}  // namespace

std::vector<std::string> wandb_command(const RunFolder& folder) {
  constexpr int kTooLong = 124, kNotFound = 127;
  const std::string script = find_script();
  const auto [code, answer] = ask("timeout 120 python3 " + quoted_for_shell(script) + " --check 2>&1 </dev/null");
  if (code == kNotFound)
    throw UsageError(
        fmt::format("metrics.loggers: wandb needs python3, which is not on the PATH; install it, or {}", kElsewhere));
  if (code == kTooLong)
    throw UsageError(fmt::format(
        "metrics.loggers: `python3 {} --check` took longer than 120 s; see what keeps it, or {}", script, kElsewhere));
  if (code != 0) throw UsageError(fmt::format("metrics.loggers: {}, or {}", answer, kElsewhere));
  return {"python3", script, folder.path(), "--from-run"};
}

}  // namespace spikesink::cli
