#include "trainer/fit.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace spikesink {
namespace {

/// 150M parameters in bf16 with f32 state: 2.5 GiB of state, and activations of 0.13 GiB a sequence.
DryRunJob small_llama() {
  DryRunJob job{.model = {.d_model = 1024, .n_layers = 8, .context = 1024, .vocab_size = 16000},
                .train = {.steps = 10, .batch_tokens = 64 * 1024, .micro_batch = 16},
                .device = Device::kCuda,
                .precision = DType::kBF16,
                .gpu_name = "NVIDIA H100 80GB HBM3"};
  job.model.attention = {.n_heads = 8, .d_head = 128};
  return job;
}
constexpr KnownGpu kGpu = *known_gpu("NVIDIA H100 80GB HBM3");

}  // namespace

TEST_CASE("of single changes the first that brings a job within the memory is named", "[trainer][fit]") {
  const DryRunJob job = small_llama();
  const auto changed = [&](auto change) {
    DryRunJob other = job;
    change(other);
    return dry_run(other).needed(Device::kCuda);
  };
  const std::int64_t whole = dry_run(job).needed(Device::kCuda);
  const std::int64_t cheap = changed([](DryRunJob& j) { j.recompute = Recompute::kCheap; });
  const std::int64_t half = changed([](DryRunJob& j) { j.train.micro_batch = 8; });
  const std::int64_t one = changed([](DryRunJob& j) { j.train.micro_batch = 1; });
  CHECK(cheap < whole);
  CHECK(half < cheap);
  const auto named = [&](std::int64_t bytes) { return one_change(job, bytes)->changes; };
  using Changes = std::vector<std::string>;
  CHECK(named(cheap) == Changes{"system.recompute=cheap"});
  CHECK(named(half) == Changes{"train.micro_batch=8"});
  CHECK(named(one) == Changes{"train.micro_batch=1"});
  CHECK_FALSE(one_change(job, 1000));
  const auto text = [&](std::int64_t bytes) { return Shortage(job, dry_run(job), bytes).text(); };
  CHECK(text(one) == bytes_text(whole) + " needed, " + bytes_text(one) +
                         " free; with --set train.micro_batch=1 it needs " + bytes_text(one));
  CHECK(text(1000).ends_with("free; no single change is enough"));
}

TEST_CASE("the fastest fit recomputes no more than it must, and narrows the state last", "[trainer][fit]") {
  const DryRunJob job = small_llama();
  const auto fit = [&](double gibs) { return fastest_fit(job, gib(gibs), kGpu); };
  const auto large = fit(79), small = fit(3.2), narrow = fit(1.8);
  REQUIRE(large);
  CHECK(large->job.recompute == Recompute::kNone);
  CHECK(large->job.train.micro_batch == 64);  // the whole step
  REQUIRE(small);
  CHECK(small->needed() <= gib(3.2));
  CHECK(small->job.state_precision == StatePrecision::kF32);
  REQUIRE(narrow);
  CHECK(narrow->job.state_precision == StatePrecision::kBF16);
  CHECK(narrow->needed() <= gib(1.8));
  CHECK_FALSE(fit(0.5));
}

TEST_CASE("on many ranks shards are searched too, and nothing that fits is faster than what is found",
          "[trainer][fit]") {
  DryRunJob job = small_llama();
  job.world = 16;
  job.rank = 15;
  const Cluster cluster{.gpus_per_node = 8, .nic_rate = 1e9};
  bool sharded = false;
  for (const double gibs : {4.0, 1.2, 0.9}) {
    const auto found = fastest_fit(job, gib(gibs), kGpu, cluster);
    CAPTURE(gibs);
    REQUIRE(found);
    CHECK(found->needed() <= gib(gibs));
    sharded = sharded || found->job.shard == ShardKind::kParameters;
    for (const ShardKind shard :
         {ShardKind::kNone, ShardKind::kOptimizer, ShardKind::kGradients, ShardKind::kParameters})
      for (const Recompute recompute : {Recompute::kNone, Recompute::kCheap, Recompute::kLayer})
        for (const std::int64_t m : {1, 2, 4}) {
          DryRunJob other = job;
          other.shard = shard;
          other.recompute = recompute;
          other.train.micro_batch = m;
          const DryRun run = dry_run(other);
          if (run.needed(Device::kCuda) <= gib(gibs))
            CHECK(step_time(other, run, kGpu, cluster).seconds() >= Approx(found->time.seconds()));
        }
  }
  CHECK(sharded);
  CHECK(fastest_fit(job, gib(79), kGpu, cluster)->job.shard == ShardKind::kOptimizer);
}

TEST_CASE("of single changes on many ranks a sharded optimizer comes first, sharded parameters late",
          "[trainer][fit]") {
  DryRunJob job = small_llama();
  job.world = 16;
  job.rank = 15;
  job.shard = ShardKind::kNone;
  using Changes = std::vector<std::string>;
  const auto needed = [&](ShardKind shard) {
    DryRunJob other = job;
    other.shard = shard;
    return dry_run(other).needed(Device::kCuda);
  };
  CHECK(needed(ShardKind::kOptimizer) < needed(ShardKind::kNone));
  CHECK(one_change(job, needed(ShardKind::kOptimizer))->changes == Changes{"system.shard=optimizer"});
  job.recompute = Recompute::kLayer;
  job.train.micro_batch = 1;
  CHECK(one_change(job, needed(ShardKind::kParameters))->changes == Changes{"system.shard=parameters"});
}

TEST_CASE("the largest micro-batch fits, and one more does not", "[trainer][fit]") {
  DryRunJob job = small_llama();
  const auto needed = [&](std::int64_t m) {
    DryRunJob other = job;
    other.train.micro_batch = m;
    return dry_run(other).needed(Device::kCuda);
  };
  for (const std::int64_t m : {1, 2, 3, 11, 16, 40}) {
    const std::int64_t bytes = needed(m), found = largest_micro_batch(job, bytes);
    CAPTURE(m, found);
    CHECK(found >= m);
    CHECK(needed(found) <= bytes);
    if (found < 64) CHECK(needed(found + 1) > bytes);
    for (std::int64_t whole = 64; whole > found; whole /= 2) CHECK(needed(whole) > bytes);
  }
  CHECK(largest_micro_batch(job, needed(1) - 1) == 0);
  CHECK(largest_micro_batch(job, gib(1000)) == 64);  // a step has no more
  job.world = 3;
  job.rank = 2;
  CHECK(largest_micro_batch(job, gib(1000)) == 22);
}

TEST_CASE("where nothing fits in f32, what fits in bf16 is known", "[trainer][fit]") {
  DryRunJob job = small_llama();
  job.precision = DType::kF32;
  CHECK_FALSE(fastest_fit(job, gib(1.8), kGpu));
  const auto narrow = fastest_fit_in_bf16(job, gib(1.8), kGpu);
  REQUIRE(narrow);
  CHECK(narrow->needed() <= gib(1.8));
  CHECK(narrow->changes.front() == "system.precision=bf16");
  CHECK(std::ranges::count(narrow->changes, "system.state_precision=bf16") == 1);
  CHECK_FALSE(fastest_fit_in_bf16(job, gib(0.5), kGpu));
}

TEST_CASE("what is recomputed and small passes take time", "[trainer][fit]") {
  const DryRunJob job = small_llama();
  const std::int64_t activations = dry_run(job).activations;
  const auto seconds = [&](auto change, std::int64_t kept) {
    Setting setting{.changes = {}, .job = job, .run = {}};
    change(setting.job);
    setting.run = dry_run(setting.job);
    return step_time(setting.job, setting.run, kept, kGpu, {}).seconds();
  };
  const double plain = seconds([](DryRunJob&) {}, activations);
  const double cheap = seconds([](DryRunJob& j) { j.recompute = Recompute::kCheap; }, activations);
  const double layer = seconds([](DryRunJob& j) { j.recompute = Recompute::kLayer; }, activations);
  const double singly = seconds([](DryRunJob& j) { j.train.micro_batch = 1; }, activations / 16);
  CHECK(plain < cheap);
  CHECK(cheap < layer);
  CHECK(plain < singly);
}

TEST_CASE("a GPU is known by a part of its name", "[trainer][fit]") {
  CHECK(known_gpu("NVIDIA H100 80GB HBM3")->key == "h100");
  CHECK(known_gpu("NVIDIA H100 PCIe")->key == "h100-pcie");
  CHECK(known_gpu("NVIDIA GH200 480GB")->key == "gh200");
  CHECK(known_gpu("NVIDIA H200")->key == "h200");
  CHECK_FALSE(known_gpu("NVIDIA GeForce RTX 4090"));
  CHECK_FALSE(known_gpu(""));
  CHECK(gpu_of_key("H100-PCIe")->key == "h100-pcie");
  CHECK_FALSE(gpu_of_key("h1000"));
}

}  // namespace spikesink
