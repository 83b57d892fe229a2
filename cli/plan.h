#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/memory.h"
#include "configs/config.h"
#include "models/cost.h"
#include "models/step_share.h"
#include "trainer/fit.h"
#include "trainer/gpus.h"

namespace spikesink::cli {

struct PlanOptions {
  std::string config, gpu;
  std::vector<std::string> overrides;
  int world = 1, node = 8;
  double nic_gbits = 400;
  bool fit = false, json = false;
};

/// One way to run a config, counted on the rank that takes most of a step: the last one.
struct Counted {
  DryRunJob job;
  DryRun run;
  StepShare share;
  std::int64_t buffers = 0;      ///< of run.working: what sharding adds to the passes of one rank alone
  std::optional<StepTime> time;  ///< where a GPU's rate is known for the precision

  /// Without the buffers.
  std::int64_t working() const { return run.working - buffers; }
  double computed_flops_per_token() const { return run.flops / static_cast<double>(share.count * job.model.context); }
};

/// What is planned: the run of a config, on the machine at hand or on GPUs that need not be here.
struct Plan {
  explicit Plan(const PlanOptions& options);

  Config config;
  ModelCost cost;
  std::int64_t context, sequences, steps;
  int world;
  Cluster cluster;
  std::optional<KnownGpu> gpu;
  std::optional<Room> room;  ///< of a rank
  Counted counted;

  std::int64_t step_tokens() const { return sequences * context; }
  std::int64_t tokens() const { return steps * step_tokens(); }
  double flops() const { return static_cast<double>(tokens()) * cost.flops(); }
  std::int64_t idle_ranks() const { return std::max<std::int64_t>(world - sequences, 0); }
  std::int64_t needed() const { return counted.run.needed(counted.job.device); }
  bool fits() const { return needed() <= room->bytes; }
  Shortage shortage() const { return {counted.job, counted.run, room->bytes}; }
  std::int64_t largest_micro_batch() const { return spikesink::largest_micro_batch(counted.job, room->bytes); }
  std::optional<Setting> fastest() const { return fastest_fit(counted.job, room->bytes, *gpu, cluster); }
  std::optional<Setting> fastest_in_bf16() const {
    return fastest_fit_in_bf16(counted.job, room->bytes, *gpu, cluster);
  }
  Counted count(const DryRunJob& job, const DryRun& run) const;
  double mfu(const Counted& way) const { return spikesink::mfu(way.job, way.time->seconds(), *gpu); }
};

template <class Enum>
std::string kind_name(Enum kind) {
  return std::string(names_of(kind)[static_cast<std::size_t>(kind)]);
}

void print_text(const Plan& plan, const PlanOptions& options);
void print_json(const Plan& plan, bool fit);

}  // namespace spikesink::cli
