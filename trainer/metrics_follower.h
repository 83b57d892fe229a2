#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace spikesink {

/// A program that reads a run's metrics.jsonl beside the run and sends it elsewhere: scripts/wandb_follow.py. Its input
/// is a socket: the line "end" says that the last step has all its lines; the socket's end alone that one may follow
/// after a resume, since the run was killed, or stopped before that step's probe. It is a session of its own, which
/// Ctrl-C does not reach, with the signals that stop a run blocked. Whatever becomes of it, the run goes on: nothing
/// here throws.
class MetricsFollower {
 public:
  /// `command[0]` is looked up on the PATH. Both outputs go to the end of the file `output`.
  MetricsFollower(const std::vector<std::string>& command, const std::string& output);
  ~MetricsFollower();  ///< tells it the end, and does not wait
  MetricsFollower(MetricsFollower&&) = delete;

  /// Once, if it has ended though the run goes on or was not started: a line that says so and why.
  std::optional<std::string> news();
  /// The run's last line is written; `whole` says that the resumed run has none to add to that step. Waits until it
  /// has sent that, but no longer than `patience` seconds; then it goes on alone. A line for the log where that is so,
  /// or where it failed.
  std::optional<std::string> end(double patience, bool whole);

 private:
  std::optional<std::string> look();

  std::string output_, problem_;
  pid_t id_ = 0;  ///< 0: not there
  int socket_ = -1;
};

}  // namespace spikesink
