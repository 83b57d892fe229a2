#include "sweeps/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "io/failure.h"

extern char** environ;

namespace spikesink {
namespace {

/// A file without a name that takes what a program says: unlike a pipe it needs nobody who reads meanwhile.
class Output {
 public:
  Output() : file_(std::tmpfile(), std::fclose) {
    if (!file_)
      throw DataError(
          fmt::format("{}: no temporary file can be made there: {}; free some space, or mend its permissions", P_tmpdir,
                      std::strerror(errno)));
  }
  int descriptor() const { return fileno(file_.get()); }
  std::string text() const {
    std::string text;
    std::rewind(file_.get());
    char buffer[4096];
    while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, file_.get())) text.append(buffer, got);
    return text;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace

std::string shell_word(std::string_view text) {
  constexpr std::string_view kHarmless = "%+,-./0123456789:@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
  if (!text.empty() && text.find_first_not_of(kHarmless) == std::string_view::npos) return std::string(text);
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

CommandResult run_command(const std::vector<std::string>& words) {
  const Output out, err;
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.descriptor(), STDERR_FILENO);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return {.code = 127, .out = "", .err = std::strerror(failed)};

  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  if (ended < 0) return {.code = 127, .out = "", .err = std::strerror(errno)};
  return {
      .code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), .out = out.text(), .err = err.text()};
}

}  // namespace spikesink
