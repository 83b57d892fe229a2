#pragma once
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "configs/sweep.h"
#include "sweeps/run_status.h"

namespace spikesink {

using StatusOfRun = std::pair<const SweepRun*, RunStatus>;

/// A line a run (state, step, loss and rate as logged last, perplexity, sink ratio and spike of the newest probe, time
/// left, and the Slurm job or the reason of a failure), then a line that counts. No line is longer than `width` if
/// names of 12 characters fit beside the figures; what gives way is the reason, and a long name of a run.
std::string status_table(const std::vector<StatusOfRun>& runs, std::size_t width = 120);

/// "6 runs: 3 finished, 1 running, 2 waiting"
std::string status_counts(const std::vector<StatusOfRun>& runs);

/// An object: `name`, `folder`, `runs`, each with `run`, `seed`, `state`, ... What is not there yet is left out.
std::string status_json(const Sweep& sweep, const std::vector<StatusOfRun>& runs);

}  // namespace spikesink
