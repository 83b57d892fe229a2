#pragma once
#include <functional>
#include <string>
#include <vector>

#include "configs/sweep.h"
#include "sweeps/run_status.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

/// A run that cannot be, or a row of which no run can be made.
struct Refusal {
  std::string run;     ///< its name; empty: of a row, which the reason names
  std::string reason;  ///< a line: its config differs from what it was run with, ...
};

/// What is to be done, and why the rest is not.
struct SweepPlan {
  std::vector<const SweepRun*> start;     ///< in the sweep's order; new ones and those that resume
  std::vector<const SweepRun*> finished;  ///< all done
  std::vector<const SweepRun*> busy;      ///< running or in the queue
  std::vector<Refusal> refused;
};

/// Throws a Failure that says why a config cannot be run where it is to run. Asked for every run that would start.
using RunCheck = std::function<void(const Config& config)>;

/// UsageError if the folder belongs to another sweep, or has files that are no sweep's.
void require_own(const Sweep& sweep, const SweepFolder& folder);

/// Looks, and writes nothing. UsageError as require_own(). A run is refused where its folder has
/// a config (config.yaml) that differs in more than where it runs and what it logs, or was not made by this sweep; or
/// where `check` refuses it.
SweepPlan plan_sweep(const Sweep& sweep, const SweepFolder& folder, const Queue& queue, const RunCheck& check = {});

/// Makes the folder and sweep.json, where they are missing. UsageError if that cannot be.
void make_sweep_folder(const Sweep& sweep, const SweepFolder& folder);
/// The same, and writes configs/RUN.yaml of the runs to start, and what TensorBoard shows of the sweep.
void write_sweep(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan);

/// What differs between a run's config and the one that it was run with, in what it computes or measures; not where it
/// runs, where its data lies, when it saves and how often it logs. As config_difference() has it.
std::vector<std::string> changes_of_run(const Config& before, const Config& after);

/// Runs in the folder that the sweep does not have, sorted: of a row that was renamed or taken out.
std::vector<std::string> runs_of_other_rows(const Sweep& sweep, const SweepFolder& folder);

}  // namespace spikesink
