#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/device.h"
#include "kernels/core/dtype.h"
#include "models/config.h"

namespace spikesink {

struct RunConfig {
  std::string name = "run";
  std::string dir = "runs";
  std::int64_t seed = 1;

  void fields(auto&& v) {
    v("name", name, "the run's folder is dir/name");
    v("dir", dir, "where run folders are made");
    v("seed", seed, "of the initial weights and of the order of the data");
  }
};

struct OptimizerConfig {
  double lr = 3e-4;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;

  void fields(auto&& v) {
    v("lr", lr, "peak learning rate of AdamW");
    v("betas", betas, "decay of the first and second moment");
    v("eps", eps, "added to the root of the second moment");
    v("weight_decay", weight_decay, "decoupled; matrices only, not norm scales and other vectors");
    v("clip", clip, "largest global gradient norm; 0: no clipping");
  }
};

enum class ScheduleKind { kConstant, kCosine, kLinear, kWsd };
constexpr std::array<std::string_view, 4> names_of(ScheduleKind) { return {"constant", "cosine", "linear", "wsd"}; }

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kCosine;
  std::int64_t warmup_steps = 2000;
  double min_ratio = 0.1;
  double decay_share = 0.1;

  void fields(auto&& v) {
    v("kind", kind, "after warm-up: constant | cosine | linear to min_ratio | wsd: constant, then linear to min_ratio");
    v("warmup_steps", warmup_steps, "steps of linear warm-up from 0");
    v("min_ratio", min_ratio, "last learning rate over the peak (not with constant)");
    v("decay_share", decay_share, "wsd: share of the steps that decays");
  }
};

enum class OnDivergence { kStop, kSkip, kRollback };
constexpr std::array<std::string_view, 3> names_of(OnDivergence) { return {"stop", "skip", "rollback"}; }

/// No run makes more: by this no sum of steps is too large for 64 bits.
constexpr std::int64_t kMostSteps = std::int64_t{1} << 40;
/// Nor has one more input tokens.
constexpr double kMostInputTokens = 1e18;

struct TrainConfig {
  std::optional<double> tokens;
  std::optional<std::int64_t> steps;
  std::int64_t batch_tokens = 2097152;
  std::int64_t micro_batch = 4;
  std::int64_t loss_from_position = 1;
  OnDivergence on_divergence = OnDivergence::kStop;
  std::int64_t max_divergences = 10;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;

  /// Sequences a step, S = floor(batch_tokens / context).
  std::int64_t sequences(std::int64_t context) const { return batch_tokens / context; }
  /// Steps of the whole run: `steps`, or `tokens` over the tokens of a step, rounded up.
  std::int64_t total_steps(std::int64_t context) const;

  void fields(auto&& v) {
    v("tokens", tokens, "length of the run in input tokens, e.g. 100e9; or give steps");
    v("steps", steps, "length of the run in optimizer steps; or give tokens");
    v("batch_tokens", batch_tokens, "input tokens of a step; rounded down to whole sequences");
    v("micro_batch", micro_batch, "sequences a pass; gradients accumulate over passes");
    v("loss_from_position", loss_from_position, "1-based first position that the loss counts");
    v("on_divergence", on_divergence,
      "when the loss or a gradient is not finite, which changes nothing yet: stop | skip: go on with the next step | "
      "rollback: to the last checkpoint, and on from there without the samples since");
    v("max_divergences", max_divergences, "skip, rollback: the run stops at one more than so many since its start");
    v("optimizer", optimizer, "AdamW");
    v("schedule", schedule, "of the learning rate");
  }
};

enum class DeviceChoice { kAuto, kCpu, kCuda };
constexpr std::array<std::string_view, 3> names_of(DeviceChoice) { return {"auto", "cpu", "cuda"}; }
/// What is meant by a word that is no name, or empty.
constexpr std::string_view meant_by(DeviceChoice, std::string_view word) {
  return word == "gpu" || word == "GPU" ? "cuda" : "";
}
enum class PrecisionChoice { kAuto, kBF16, kF32, kF64 };
constexpr std::array<std::string_view, 4> names_of(PrecisionChoice) { return {"auto", "bf16", "f32", "f64"}; }

/// How AdamW's state is stored beside bf16 weights: with an f32 master of each and f32 moments, or bf16 alone, rounded
/// at random. f32 and f64 weights are their own masters, with moments of their dtype.
enum class StatePrecision { kF32, kBF16 };
constexpr std::array<std::string_view, 2> names_of(StatePrecision) { return {"f32", "bf16"}; }

/// What a rank has only its part of (trainer/dist/shards.h): nothing, or the optimizer's state, or the gradients too,
/// or the parameters too.
enum class ShardKind { kNone, kOptimizer, kGradients, kParameters };
constexpr std::array<std::string_view, 4> names_of(ShardKind) {
  return {"none", "optimizer", "gradients", "parameters"};
}
/// What gradients are sent to other ranks in. Sums are in f32 (f64 for f64, which is never rounded).
enum class ReducePrecision { kF32, kBF16 };
constexpr std::array<std::string_view, 2> names_of(ReducePrecision) { return {"f32", "bf16"}; }

struct SystemConfig {
  DeviceChoice device = DeviceChoice::kAuto;
  PrecisionChoice precision = PrecisionChoice::kAuto;
  Recompute recompute = Recompute::kNone;
  StatePrecision state_precision = StatePrecision::kF32;
  bool deterministic = true;
  ShardKind shard = ShardKind::kOptimizer;
  ReducePrecision reduce_precision = ReducePrecision::kF32;
  double rank_timeout = 600;

  void fields(auto&& v) {
    v("device", device, "auto (cuda in a build that has it, else cpu) | cpu | cuda");
    v("precision", precision,
      "auto (bf16 on cuda, f32 on the CPU) | bf16 (cuda only) | f32 | f64 (CPU only, for checks)");
    v("recompute", recompute,
      "none | cheap: outputs of norms, activations and gates are computed again on the way back | layer: only each "
      "layer's input is kept; least memory, a third more work");
    v("state_precision", state_precision,
      "of AdamW beside bf16 weights: f32 master and moments, 12 bytes a parameter | bf16 moments alone, rounded at "
      "random: 4");
    v("deterministic", deterministic,
      "equal runs have equal bits; false: on cuda attention's backward adds up in the order of arrival, and products "
      "take the algorithm that was fastest when it was first needed");
    v("shard", shard,
      "what each of many ranks has only its part of: none | optimizer: AdamW's state | gradients: these too, summed "
      "after every pass | parameters: these too, gathered for each layer as it runs");
    v("reduce_precision", reduce_precision,
      "what gradients are sent to other ranks in: f32 | bf16: half the bytes, sums still in f32; not with f64");
    v("rank_timeout", rank_timeout,
      "of several processes: seconds without news of one, after which the others end the run and name it");
  }

  /// What gradients are sent in.
  ReducePrecision resolved_reduce() const {
    return precision == PrecisionChoice::kF64 ? ReducePrecision::kF32 : reduce_precision;
  }
  /// What `auto` comes to in this build.
  Device resolved_device() const;
  DType resolved_precision() const;
};

struct CheckpointConfig {
  std::int64_t every_steps = 1000;
  std::int64_t keep = 3;
  bool async = true;

  void fields(auto&& v) {
    v("every_steps", every_steps, "steps between checkpoints; one more is written at the end");
    v("keep", keep, "newest checkpoints that stay; 0: all");
    v("async", async, "write in the background, from a copy of the state");
  }
};

/// kWandb: scripts/wandb_follow.py, started beside the run, sends what kJsonl writes.
enum class Logger { kJsonl, kTensorboard, kWandb };
constexpr std::array<std::string_view, 3> names_of(Logger) { return {"jsonl", "tensorboard", "wandb"}; }

/// The keys of `metrics:` that the loop itself reads; those of the probe are ProbeConfig (analysis/config.h).
struct LoggingConfig {
  std::int64_t every_steps = 10;
  std::int64_t probe_every_steps = 500;
  double loss_spike_deviations = 8;
  std::vector<Logger> loggers = {Logger::kJsonl, Logger::kTensorboard};

  void fields(auto&& v) {
    v("every_steps", every_steps, "steps between lines of metrics.jsonl and the log");
    v("probe_every_steps", probe_every_steps,
      "steps between probes; also at step 0, checkpoints and the end; 0: only those");
    v("loss_spike_deviations", loss_spike_deviations,
      "standard deviations above the mean of the 128 losses before (32 at least) from which a loss is noted as a "
      "spike; "
      "0: never");
    v("loggers", loggers, "any of jsonl, tensorboard, and beside jsonl wandb, which sends it to Weights & Biases");
  }
};

/// One line naming the key, the reason and the mend, or empty. `context` is model.context.
std::string problem_of(const TrainConfig& config, std::int64_t context);
std::string problem_of(const SystemConfig& config);
std::string problem_of(const CheckpointConfig& config);
std::string problem_of(const LoggingConfig& config);

}  // namespace spikesink
