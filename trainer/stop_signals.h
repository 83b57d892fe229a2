#pragma once
#include <csignal>
#include <cstddef>
#include <vector>

namespace spikesink {

/// From here to the next StopSignals or end_despite_stop_signals() a stop signal ends the program at once, with one
/// line and ExitCode::kPreempted: for the time before there is anything to save.
void end_at_stop_signals();

/// From here on SIGINT ends the program at once, and the other stop signals do nothing: for a program that is about to
/// end by itself, with its own exit code. A launcher sends one to the ranks that are still ending when the first has
/// ended with an error.
void end_despite_stop_signals();

/// While it lives, the first stop signal (SIGINT, SIGTERM, SIGHUP or SIGUSR1) asks for a stop, and a second SIGINT ends
/// the program at once; output that nobody reads any more does not end it. Afterwards as by end_despite_stop_signals().
/// To be made on the main thread, which the kernel hands signals of the process to.
///
/// The handler runs on a stack of its own: oneDNN's generated kernels keep data below the stack pointer, where a
/// handler's frame would overwrite it (seen as a corrupted heap in one of twenty stops).
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Has one come since the newest object was made?
  static bool requested();

 private:
  std::vector<std::byte> stack_;
  stack_t before_{};
};

}  // namespace spikesink
