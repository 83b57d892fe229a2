#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/dry_run.h"
#include "trainer/gpus.h"

namespace spikesink {

/// Changes of a job, and what it takes with them.
struct Setting {
  std::vector<std::string> changes;  ///< as --set takes them; empty: the job as it is
  DryRunJob job;
  DryRun run;

  std::int64_t needed() const { return run.needed(job.device); }
};

/// The one change that brings a job that needs more than `bytes` within them: the first of cheap recomputation, smaller
/// passes, recomputed layers and bf16 state that does; nothing where none does.
std::optional<Setting> one_change(const DryRunJob& job, std::int64_t bytes);

/// The setting of train.micro_batch and system.recompute that is fastest by step_seconds() among those that need at
/// most `bytes`; with bf16 state only where nothing fits without. Nothing where nothing fits.
std::optional<Setting> fastest_fit(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu);
/// The same with the weights of an f32 job in bf16, so that its state may be.
std::optional<Setting> fastest_fit_in_bf16(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu);

/// An estimate by which settings are compared: products at 60 % of the stated rate; and at 80 % of the memory's, for
/// each pass, the weights (twice) and the gradients (there and back), and what is recomputed (written, and twice as
/// much read). `activations`: kept by a pass of this size that recomputes nothing.
double step_seconds(const Setting& setting, std::int64_t activations, const KnownGpu& gpu);

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
