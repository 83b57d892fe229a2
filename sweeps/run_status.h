#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "configs/sweep.h"
#include "sweeps/run_metrics.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

/// What Slurm says of a job that it still has.
struct QueuedJob {
  std::string job;     ///< ARRAY_TASK
  std::string state;   ///< PENDING, RUNNING, COMPLETING, ...
  std::string reason;  ///< why it waits, e.g. Resources
};
struct Queue {
  std::map<std::string, QueuedJob, std::less<>> jobs;  ///< by the name of their run; one that has none is not in it
  bool known = true;                                   ///< false: Slurm has jobs of this sweep, but was not heard
};

enum class RunPhase {
  kWaiting,   ///< never started
  kQueued,    ///< in Slurm's queue
  kRunning,   ///< now
  kStopped,   ///< by a signal, after a checkpoint: goes on when it is run again
  kFailed,    ///< with the reason; goes on from its checkpoint when it is run again
  kFinished,  ///< all steps and the last checkpoint are there
};
std::string_view name_of(RunPhase phase);  ///< waiting, queued, ...

struct RunStatus {
  RunPhase phase = RunPhase::kWaiting;
  std::int64_t step = 0, total_steps = 0;
  RunMetrics metrics;
  std::optional<double> seconds_left;  ///< of a run that is going on
  std::string job;                     ///< Slurm's, of the newest attempt or in the queue; or empty
  std::string reason;                  ///< of a failure: the last line that the run said; of one in the queue: Slurm's
};

/// From the run's files, the attempts and the queue. Total steps are those of the config that the run has (configs/),
/// if it has one, else of `run`.
RunStatus status_of(const SweepFolder& folder, const SweepRun& run, const Queue& queue);

}  // namespace spikesink
