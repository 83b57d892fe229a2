#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "configs/sweep.h"
#include "sweeps/prepare.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

/// The command lines of a plan's runs on this machine, in shell form, for --dry-run.
std::vector<std::string> local_commands(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan,
                                        const std::string& program);

struct LocalOutcome {
  int finished = 0, failed = 0;
  int stopped = 0;  ///< by a signal, after a checkpoint; or not even started since one has come
};
/// Runs the plan's runs, `sweep.local.jobs` at a time, each with `train CONFIG --resume`, its output in
/// SweepFolder::output(); says on stdout what starts and ends, and shows progress. A run that fails does not keep the
/// others from running. SIGINT, SIGTERM, SIGHUP and SIGUSR1 are passed on as SIGUSR1, and no further run starts.
LocalOutcome run_locally(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan,
                         const std::string& program);

/// The GPUs of the run in place `place` of `jobs`, as CUDA_VISIBLE_DEVICES has them: an equal share, or one that
/// several runs have where there are fewer GPUs than jobs. `gpus`: those that we may use.
std::string share_of_gpus(const std::vector<std::string>& gpus, std::size_t jobs, std::size_t place);

}  // namespace spikesink
