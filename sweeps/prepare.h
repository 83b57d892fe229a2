#pragma once
#include <string>
#include <vector>

#include "configs/sweep.h"
#include "sweeps/run_status.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

/// What is to be done, and why the rest is not.
struct SweepPlan {
  std::vector<const SweepRun*> start;     ///< in the sweep's order; new ones and those that resume
  std::vector<const SweepRun*> finished;  ///< all done
  std::vector<const SweepRun*> busy;      ///< running or in the queue
  std::vector<std::string> refused;       ///< a line each: runs whose config differs from what they were run with, ...
};

/// Looks, and writes nothing. UsageError if the folder belongs to another sweep. A run is refused where its folder has
/// a config (config.yaml) that differs in more than where it runs and what it logs, or was not made by this sweep.
SweepPlan plan_sweep(const Sweep& sweep, const SweepFolder& folder, const Queue& queue);

/// Makes the folder, sweep.json and configs/RUN.yaml of the runs to start.
void write_sweep(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan);

}  // namespace spikesink
