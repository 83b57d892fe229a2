#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/dry_run.h"
#include "trainer/gpus.h"
#include "trainer/step_time.h"

namespace spikesink {

/// Changes of a job, and what it takes with them.
struct Setting {
  std::vector<std::string> changes;  ///< as --set takes them; empty: the job as it is
  DryRunJob job;
  DryRun run;
  StepTime time = {};  ///< of fastest_fit()

  std::int64_t needed() const { return run.needed(job.device); }
};

/// The one change that brings a job that needs more than `bytes` within them: the first that does of cheap
/// recomputation, smaller passes, recomputed layers and bf16 state, on many ranks with a sharded optimizer before them
/// and sharded gradients and parameters before the last; nothing where none does.
std::optional<Setting> one_change(const DryRunJob& job, std::int64_t bytes);

/// The setting of train.micro_batch, system.recompute and, on many ranks, system.shard that is fastest by step_time()
/// among those that need at most `bytes`; with bf16 state only where nothing fits without. Nothing where nothing fits.
std::optional<Setting> fastest_fit(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu,
                                   const Cluster& cluster = {});
/// The same with the weights of an f32 job in bf16, so that its state may be.
std::optional<Setting> fastest_fit_in_bf16(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu,
                                           const Cluster& cluster = {});

/// The most sequences a pass with which the job needs at most `bytes`; 0 where one is too many. A pass that leaves a
/// rest for the last takes memory of its own for that, so more sequences may take less: those that leave none are all
/// tried, others not.
std::int64_t largest_micro_batch(const DryRunJob& job, std::int64_t bytes);

/// step_time() with what a pass keeps that recomputes nothing, which it finds by a dry run where the job does.
StepTime step_time(const DryRunJob& job, const DryRun& run, const KnownGpu& gpu, const Cluster& cluster);

/// 1.5 GiB, 12.3 MiB
std::string bytes_text(std::int64_t bytes);

/// What is said of a job, whose run is given, that needs more than the `bytes` that are there.
struct Shortage {
  Shortage(const DryRunJob& job, const DryRun& run, std::int64_t bytes);
  /// "12.0 GiB needed, 8.0 GiB free; with --set system.recompute=layer it needs 7.1 GiB", or "...; no single change is
  /// enough".
  std::string text() const;

  std::int64_t needed, bytes;
  std::optional<Setting> change;  ///< one_change()
};

}  // namespace spikesink
