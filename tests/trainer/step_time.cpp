#include "trainer/step_time.h"

#include <catch2/catch.hpp>

#include "models/cost.h"
#include "trainer/fit.h"

namespace spikesink {
namespace {

constexpr KnownGpu kH100 = *gpu_of_key("h100");
constexpr ShardKind kShards[] = {ShardKind::kNone, ShardKind::kOptimizer, ShardKind::kGradients,
                                 ShardKind::kParameters};

/// Two passes of 4 sequences on each of 16 ranks, which are two nodes.
DryRunJob job_of(ShardKind shard) {
  DryRunJob job{.model = {.d_model = 1024, .n_layers = 8, .context = 1024, .vocab_size = 16000},
                .train = {.steps = 10, .batch_tokens = 16 * 8 * 1024, .micro_batch = 4},
                .device = Device::kCuda,
                .precision = DType::kBF16,
                .shard = shard,
                .rank = 15,
                .world = 16};
  job.model.attention = {.n_heads = 8, .d_head = 128};
  return job;
}
constexpr double kPasses = 2;

StepTime time_of(const DryRunJob& job, const Cluster& cluster) { return step_time(job, dry_run(job), kH100, cluster); }
Cluster nics(double rate) { return {.gpus_per_node = 8, .nic_rate = rate}; }

}  // namespace

TEST_CASE("each kind's bytes are those of its sums and gatherings over the link", "[trainer][step_time]") {
  const auto P = static_cast<double>(cost_of(job_of(ShardKind::kNone).model).parameters());
  const double bytes[] = {4 + 4, 4 + 2, kPasses * 4 + 2, kPasses * (4 + 2 * 2)};  // a parameter, f32 and bf16
  const double narrow[] = {2 + 4, 2 + 2, kPasses * 2 + 2, kPasses * (2 + 2 * 2)};
  for (std::size_t i = 0; i < std::size(kShards); ++i) {
    DryRunJob job = job_of(kShards[i]);
    CAPTURE(i);
    const double rate = kLinkShare * 8 * 10e9;
    // Two layers of a pass are there already, of ten.
    const double tolerance = kShards[i] == ShardKind::kParameters ? 0.2 : 0.001;
    CHECK(time_of(job, nics(10e9)).sending == Approx(P * bytes[i] * 15 / 16 / rate).epsilon(tolerance));
    job.reduce_precision = ReducePrecision::kBF16;
    CHECK(time_of(job, nics(10e9)).sending == Approx(P * narrow[i] * 15 / 16 / rate).epsilon(tolerance));
  }
}

TEST_CASE("over slow links a step takes as long as its bytes, over fast ones as its computation",
          "[trainer][step_time]") {
  for (const ShardKind shard : kShards) {
    const DryRunJob job = job_of(shard);
    const DryRun run = dry_run(job);
    CAPTURE(kPasses, static_cast<int>(shard));
    const StepTime slow = step_time(job, run, kH100, nics(1e4));
    CHECK(slow.seconds() == Approx(run.sent_bytes / (kLinkShare * 8e4)).epsilon(1e-3));
    const StepTime fast = step_time(job, run, kH100, nics(1e15));  // NVLink bounds it
    CHECK(fast.sending == Approx(run.sent_bytes / (kLinkShare * kH100.link_rate)));
    CHECK(fast.exposed() > 0);
    CHECK(fast.exposed() < 0.05 * fast.compute());
  }
}

TEST_CASE("a rank alone computes only", "[trainer][step_time]") {
  DryRunJob job = job_of(ShardKind::kOptimizer);
  job.rank = 0;
  job.world = 1;
  const StepTime time = time_of(job, {});
  CHECK(time.communication() == 0);
  CHECK(time.hidden == 0);
  const DryRun run = dry_run(job);
  CHECK(time.seconds() > run.flops / (kProductShare * kH100.bf16_flops));
  CHECK(mfu(job, time.seconds(), kH100) > 0.1);
  CHECK(mfu(job, time.seconds(), kH100) < kProductShare);
}

TEST_CASE("a slower network makes no step faster, nor do more nodes with as much work for a rank",
          "[trainer][step_time]") {
  for (const ShardKind shard : kShards) {
    const DryRunJob job = job_of(shard);
    const DryRun run = dry_run(job);
    double before = 0;
    for (double rate = 1e12; rate > 1e5; rate /= 2) {
      const double seconds = step_time(job, run, kH100, nics(rate)).seconds();
      CHECK(seconds >= before);
      before = seconds;
    }
    before = 0;
    for (int world = 2; world <= 1024; world *= 2) {
      DryRunJob wide = job;
      wide.world = world;
      wide.rank = world - 1;
      wide.train.batch_tokens = world * 8 * 1024;
      const StepTime time = time_of(wide, nics(5e9));
      CHECK(time.communication() >= before);
      CHECK(time.hidden <= time.compute());
      before = time.communication();
    }
  }
}

// Communication that takes longer than all computation, so that each kind hides as much as it can.
TEST_CASE("a kind hides communication behind the passes that it runs beside", "[trainer][step_time]") {
  const auto share = [](ShardKind shard) {
    const StepTime time = time_of(job_of(shard), nics(1e6));
    return time.hidden / (time.compute() - time.optimizer);
  };
  CHECK(share(ShardKind::kNone) == Approx(2.0 / 3 / kPasses).epsilon(0.01));  // the last backward
  CHECK(share(ShardKind::kOptimizer) == Approx(1 / kPasses).epsilon(0.01));   // and the first forward
  CHECK(share(ShardKind::kGradients) == Approx(2.0 / 3 + 1.0 / 3 / kPasses).epsilon(0.01));
  CHECK(share(ShardKind::kParameters) == Approx(1).epsilon(0.01));
}

TEST_CASE("attention of narrow heads and recomputation take longer", "[trainer][step_time]") {
  DryRunJob job = job_of(ShardKind::kOptimizer);
  const StepTime wide = time_of(job, {});
  job.model.attention = {.n_heads = 16, .d_head = 64};
  const StepTime narrow = time_of(job, {});
  CHECK(narrow.attention > 1.5 * wide.attention);
  CHECK(narrow.products == Approx(wide.products));
  job = job_of(ShardKind::kOptimizer);
  job.recompute = Recompute::kCheap;
  const StepTime cheap = time_of(job, {});
  CHECK(cheap.memory > wide.memory);
  CHECK(cheap.products == Approx(wide.products));
  job.recompute = Recompute::kLayer;
  const StepTime layer = time_of(job, {});
  CHECK(layer.attention == Approx(4.0 / 3 * wide.attention));
  CHECK(layer.products > 1.25 * wide.products);
}

}  // namespace spikesink
