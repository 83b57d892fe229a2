#include "sweeps/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <utility>

#include "io/failure.h"
#include "io/file_descriptor.h"

extern char** environ;

namespace spikesink {
namespace {
constexpr int kStop = SIGUSR1;  // mpirun passes it on, and gives ranks a second after SIGTERM only

/// `more` over our own environment.
std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  const auto name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> all = more;
  for (char** entry = environ; *entry; ++entry)
    if (std::ranges::none_of(more, [&](const std::string& other) { return name_of(other) == name_of(*entry); }))
      all.emplace_back(*entry);
  return all;
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

Child::Child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
             const std::string& output) {
  const auto out = FileDescriptor::open(output, O_WRONLY | O_APPEND | O_CREAT);
  const auto in = FileDescriptor::open("/dev/null", O_RDONLY);
  const std::vector<std::string> all = environment_with(environment);
  const std::vector<char*> arguments = pointers_to(command), variables = pointers_to(all);
  std::array<int, 2> news{};  // of an exec that failed; closed by one that did not
  if (pipe2(news.data(), O_CLOEXEC) != 0) throw UsageError(fmt::format("pipe: {}", std::strerror(errno)));

  const pid_t parent = getpid();
  id_ = fork();
  if (id_ == 0) {  // only what is safe after a fork
    setpgid(0, 0);
    std::signal(kStop, SIG_DFL);  // the parent's handler, which is here until the exec, would lose it
    prctl(PR_SET_PDEATHSIG, kStop);
    std::signal(SIGPIPE, SIG_DFL);
    if (getppid() == parent && dup2(in.get(), STDIN_FILENO) >= 0 && dup2(out.get(), STDOUT_FILENO) >= 0 &&
        dup2(out.get(), STDERR_FILENO) >= 0)
      execvpe(arguments[0], arguments.data(), variables.data());
    const int code = errno;
    [[maybe_unused]] const auto written = write(news[1], &code, sizeof code);
    _exit(127);
  }
  int code = id_ < 0 ? errno : 0;
  close(news[1]);
  if (id_ > 0) {
    ssize_t length;
    do length = read(news[0], &code, sizeof code);
    while (length < 0 && errno == EINTR);
    if (length > 0) waitpid(std::exchange(id_, 0), nullptr, 0);
  }
  close(news[0]);
  if (id_ <= 0) {
    id_ = 0;
    throw UsageError(fmt::format("{}: cannot be started: {}", command[0], std::strerror(code)));
  }
}

Child::~Child() {
  if (id_ == 0) return;
  stop();
  while (waitpid(id_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Child::Child(Child&& other) noexcept : id_(std::exchange(other.id_, 0)) {}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(id_, other.id_);
  return *this;
}

void Child::stop() const {
  if (id_ != 0) kill(id_, kStop);
}

std::optional<int> Child::ended() {
  int status = 0;
  if (id_ == 0 || waitpid(id_, &status, WNOHANG) != id_) return std::nullopt;
  id_ = 0;
  return code_of(status);
}

}  // namespace spikesink
