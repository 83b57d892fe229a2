#pragma once
#include <string>

#include "configs/sweep.h"
#include "sweeps/prepare.h"
#include "sweeps/run_status.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

/// The sbatch script of one array whose task i is the plan's start[i]: the template with its places filled. All that
/// comes from configs is quoted, but for `setup` and `container`, which are shell text. `program` is taken where
/// slurm.program is absent. UsageError for a value that Slurm would misread, for a template that is missing or has an
/// unknown place. What cannot be, e.g. no time before the limit, read_sweep() has refused.
std::string sbatch_script(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan,
                          const std::string& program);

/// Writes the script to SweepFolder::slurm() as submission_0001.sbatch, ..., submits it, notes the job's number and
/// its tasks in slurm/jobs.jsonl and returns the number. UsageError with sbatch's own words where it is missing or
/// refuses; then nothing is noted.
std::string submit(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan, const std::string& script);

/// What squeue says of the jobs that this sweep has submitted (slurm/jobs.jsonl): those with its numbers and its
/// scripts, since numbers come again, and another cluster has the same. Where none was, nothing is asked; where squeue
/// is missing or fails, the queue is not known and `problem` says so in one line.
struct SlurmView {
  Queue queue;
  std::string problem;
  bool no_squeue = false;  ///< this machine is of no cluster
};
SlurmView ask_slurm(const SweepFolder& folder);

}  // namespace spikesink
