#include "trainer/metrics_follower.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

extern char** environ;

namespace spikesink {
namespace {

/// Starts it with `input` as its stdin; 0 or an errno.
int spawn(pid_t& id, const std::vector<std::string>& command, int input, const std::string& output) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);  // of MPI and CUDA
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : {SIGINT, SIGHUP, SIGUSR1}) sigaddset(&blocked, signal);
  posix_spawnattr_setsigmask(&attributes, &blocked);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int code = posix_spawnp(&id, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return code;
}

std::string last_line_of(const std::string& path) {
  std::ifstream file(path);
  std::string last;
  for (std::string line; std::getline(file, line);)
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  return last;
}

}  // namespace

MetricsFollower::MetricsFollower(const std::vector<std::string>& command, const std::string& output) : output_(output) {
  std::array<int, 2> ends{};
  int code = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0 ? 0 : errno;
  if (code == 0) {
    code = spawn(id_, command, ends[1], output);
    ::close(ends[1]);
    socket_ = ends[0];
  }
  if (code != 0) {
    id_ = 0;
    problem_ = fmt::format("{} cannot be started: {}; the run goes on without it", command[0], std::strerror(code));
  }
}

MetricsFollower::~MetricsFollower() {
  if (id_ != 0) end(0, true);
  if (socket_ >= 0) ::close(socket_);
}

std::optional<std::string> MetricsFollower::look() {
  int status = 0;
  if (id_ == 0 || waitpid(id_, &status, WNOHANG) == 0) return std::nullopt;
  id_ = 0;
  const std::string how = WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
                                              : fmt::format("exit code {}", WEXITSTATUS(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : fmt::format("{}: {}", how, last_line_of(output_));
}

std::optional<std::string> MetricsFollower::news() {
  if (!problem_.empty()) return std::exchange(problem_, "");
  const auto ended = look();
  if (!ended) return std::nullopt;
  return fmt::format("metrics are no longer sent: what sends them has ended{}{}; see {}",
                     ended->empty() ? "" : " with ", *ended, output_);
}

std::optional<std::string> MetricsFollower::end(double patience, bool whole) {
  constexpr auto now = &std::chrono::steady_clock::now;
  if (id_ == 0) return news();
  if (whole) [[maybe_unused]]
    const auto told = send(socket_, "end\n", 4, MSG_NOSIGNAL);
  ::close(std::exchange(socket_, -1));
  for (const auto begin = now(); now() - begin < std::chrono::duration<double>(patience);) {
    if (const auto ended = look()) {
      if (ended->empty()) return std::nullopt;
      return fmt::format("metrics may not all have been sent: what sends them has ended with {}; see {}", *ended,
                         output_);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return fmt::format("metrics are still being sent, by process {}; see {}", std::exchange(id_, 0), output_);
}

}  // namespace spikesink
