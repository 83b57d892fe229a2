#include "trainer/stop_signals.h"

#include <unistd.h>

#include <atomic>
#include <string_view>

#include "io/failure.h"

namespace spikesink {
namespace {
std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

// mpirun passes SIGUSR1 on, and gives ranks a second after SIGTERM only. All but SIGINT may come twice: from who
// signals a launcher and its processes together.
constexpr int kStopSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

/// Of a handler: calls that are safe in one only.
void end_at_once(int) {
  constexpr std::string_view kLine =
      "spikesink: stopped by a signal before the first step, when nothing had been computed; start it again, with "
      "--resume where the run has begun\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, kLine.data(), kLine.size());
  _exit(static_cast<int>(ExitCode::kPreempted));
}
}  // namespace

void end_at_stop_signals() {
  for (const int signal : kStopSignals) std::signal(signal, end_at_once);
}

void end_despite_stop_signals() {
  // Handled, not ignored, which programs that are started later would inherit.
  for (const int signal : kStopSignals)
    std::signal(
        signal, signal == SIGINT ? SIG_DFL : [](int) {});
}

StopSignals::StopSignals() : stack_(1 << 16) {
  const stack_t own{.ss_sp = stack_.data(), .ss_flags = 0, .ss_size = stack_.size()};
  sigaltstack(&own, &before_);
  stop_requested = false;
  std::signal(SIGPIPE, SIG_IGN);
  for (const int signal : kStopSignals) {
    struct sigaction action {};
    action.sa_handler = [](int) { stop_requested = true; };
    action.sa_flags = (signal == SIGINT ? SA_RESETHAND : 0) | SA_RESTART | SA_ONSTACK;
    sigaction(signal, &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  end_despite_stop_signals();
  sigaltstack(&before_, nullptr);
}

bool StopSignals::requested() { return stop_requested; }

}  // namespace spikesink
