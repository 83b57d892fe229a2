#include "trainer/dry_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>

#include "analysis/probe.h"
#include "data/stream_loader.h"
#include "models/cost.h"
#include "tests/trainer/support.h"
#include "trainer/trainer.h"

namespace spikesink {
namespace {

/// Sizes that no two of are alike, that passes do not divide, and of which the probe has others than training.
DryRunJob small_job() {
  DryRunJob job{.model = {.d_model = 24, .n_layers = 2, .context = 80, .vocab_size = 258},
                .train = {.steps = 3, .batch_tokens = 5 * 80, .micro_batch = 2}};
  job.model.attention = {.n_heads = 4, .n_kv_heads = 2, .d_head = 10};
  job.model.ffn.d_hidden = 40;
  job.train.schedule.warmup_steps = 1;
  job.threads = 2;
  return job;
}

constexpr std::int64_t kProbeSequences = 5;
MeasureOptions probe_options(const DryRunJob& job) {
  return {.metrics = {.sequences = kProbeSequences, .sink_length = 16},
          .micro_batch = job.train.micro_batch,
          .loss_from_position = job.train.loss_from_position,
          .end_of_text = job.document_mask ? std::optional(std::int32_t{256}) : std::nullopt};
}
std::vector<std::int32_t> probe_samples(const DryRunJob& job) {
  return std::vector<std::int32_t>(static_cast<std::size_t>(kProbeSequences * (job.model.context + 1)), 65);
}

/// Nothing is printed while it lives.
class Silence {
 public:
  Silence() : before_(dup(STDOUT_FILENO)) { put(open("/dev/null", O_WRONLY)); }
  ~Silence() { put(before_); }

 private:
  static void put(int file) {
    std::fflush(stdout);
    dup2(file, STDOUT_FILENO);
    close(file);
  }
  int before_;
};

/// What a real run of the same job takes: three steps, probes and checkpoints.
TrainResult real_run(const DryRunJob& job) {
  const test::TemporaryFolder folder;
  {
    std::ofstream shard(folder / "shard.jsonl");
    for (int i = 0; i < 40; ++i) shard << fmt::format("{{\"text\": \"document {:0{}}\"}}\n", i, 1 + i * 7 % 90);
  }
  const auto tokenizer = make_tokenizer("bytes");
  StreamLoader loader({.data = {.train = {folder / "shard.jsonl"}, .holdout = 0, .document_mask = job.document_mask},
                       .tokenizer = *tokenizer,
                       .context = job.model.context,
                       .sequences = job.train.sequences(job.model.context),
                       .seed = 1});
  const Stream stream = job.device == Device::kCuda ? Stream::cuda() : Stream::cpu(job.threads);
  Decoder model(job.model, job.recompute);
  ModelProbe probe(stream, model, probe_samples(job), probe_options(job));
  const RunFolder run(folder / "run");
  run.make();
  const CheckpointConfig checkpoint{.every_steps = 2};
  const LoggingConfig logging{.probe_every_steps = 1};
  const Silence silence;
  const auto communicator = alone();
  return train({.stream = stream,
                .communicator = *communicator,
                .model = model,
                .loader = loader,
                .probe = probe,
                .folder = run,
                .train = job.train,
                .precision = job.precision,
                .state_precision = job.state_precision,
                .shards = {},
                .seed = 1,
                .checkpoint = checkpoint,
                .logging = logging,
                .end_of_text = probe_options(job).end_of_text});
}

/// Checks that the dry run counts what the real one takes.
void check_exact(DryRunJob job) {
  job.probe = [](const DryRunJob& of, const Stream& stream, const Decoder& model) {
    measure(stream, model, probe_samples(of), probe_options(of));
  };
  const DryRun dry = dry_run(job);
  const TrainResult real = real_run(job);
  CHECK(dry.steps.peak == real.steps.peak);
  CHECK(dry.steps.reserved == real.steps.reserved);
  CHECK(dry.memory.peak == real.memory.peak);
  CHECK(dry.memory.reserved == real.memory.reserved);
  CHECK(dry.weights + dry.gradients + dry.optimizer + dry.activations + dry.working + dry.other == dry.memory.peak);
  for (const std::int64_t part : {dry.weights, dry.gradients, dry.optimizer, dry.activations}) CHECK(part > 0);
  CHECK(dry.other >= 0);
}

/// Changes to small_job() of one kind each.
struct Change {
  const char* name;
  void (*apply)(DryRunJob&);
};
std::ostream& operator<<(std::ostream& out, const Change& change) { return out << change.name; }
const Change kChanges[] = {
    {"baseline", [](DryRunJob&) {}},
    {"cheap recomputation", [](DryRunJob& job) { job.recompute = Recompute::kCheap; }},
    {"layers recomputed", [](DryRunJob& job) { job.recompute = Recompute::kLayer; }},
    {"documents", [](DryRunJob& job) { job.document_mask = true; }},
    {"loss from a position", [](DryRunJob& job) { job.train.loss_from_position = 41; }},
    {"one pass a step", [](DryRunJob& job) { job.train.micro_batch = 5; }},
    {"a pass larger than the step", [](DryRunJob& job) { job.train.micro_batch = 9; }},
    {"a pass a sequence", [](DryRunJob& job) { job.train.micro_batch = 1; }},
    {"a gate, QK-norm, cheap recomputation",
     [](DryRunJob& job) {
       job.model.attention.gate = {.source = GateSource::kConditional, .granularity = GateGranularity::kChannel};
       job.model.norm.qk = QkNorm::kHead;
       job.recompute = Recompute::kCheap;
     }},
    {"a token gate, output norms, attention for the FFN, tied, layers recomputed",
     [](DryRunJob& job) {
       job.model.attention.gate.source = GateSource::kToken;
       job.model.norm = {.kind = NormKind::kDynamicTanh, .output = true, .beta = true};
       job.model.ffn.kind = FfnKind::kAttention;
       job.model.tie_embeddings = true;
       job.model.embedding_scale = EmbeddingScale::kLearned;
       job.recompute = Recompute::kLayer;
     }},
    {"LayerNorm, GeLU, a positional gate",
     [](DryRunJob& job) {
       job.model.norm.kind = NormKind::kLayerNorm;
       job.model.ffn.kind = FfnKind::kGelu;
       job.model.attention.gate.source = GateSource::kPositional;
     }},
    {"activations that outweigh the measurement of the matrix rate, which is released before them",
     [](DryRunJob& job) {
       job.model.context = 512;
       job.model.ffn.d_hidden = 1024;
       job.train.batch_tokens = 12 * 512;
       job.train.micro_batch = 8;
     }},
};

}  // namespace

TEST_CASE("a dry run takes to the byte what the run takes, on the CPU", "[trainer][dry_run]") {
  const Change change = GENERATE(from_range(std::begin(kChanges), std::end(kChanges)));
  CAPTURE(change);
  DryRunJob job = small_job();
  change.apply(job);
  SECTION("one thread") { job.threads = 1; }
  SECTION("two threads") { job.threads = 2; }
  SECTION("double precision") { job.precision = DType::kF64; }
  check_exact(job);
}

TEST_CASE("a dry run takes to the byte what the run takes, on CUDA", "[trainer][dry_run]") {
  if (!kCudaEmulated) return test::skipped("not emulated");
  const Change change = GENERATE(from_range(std::begin(kChanges), std::end(kChanges)));
  CAPTURE(change);
  DryRunJob job = small_job();
  job.device = Device::kCuda;
  job.precision = GENERATE(DType::kF32, DType::kBF16);
  job.model.n_layers = 1;
  job.model.context = 12;  // emulation is slow
  job.train.batch_tokens = 5 * 12;
  change.apply(job);
  if (job.train.loss_from_position > 12) job.train.loss_from_position = 7;
  if (job.model.context > 12) return;
  check_exact(job);
}

TEST_CASE("a dry run takes to the byte what the run takes, with bf16 state and where cuDNN serves",
          "[trainer][dry_run]") {
  if (!kCudaEmulated) return test::skipped("not emulated");
  DryRunJob job = small_job();
  job.device = Device::kCuda;
  job.precision = DType::kBF16;
  job.state_precision = StatePrecision::kBF16;
  job.model.n_layers = 1;
  job.model.attention = {.n_heads = 2, .n_kv_heads = 1, .d_head = 64};
  job.train.batch_tokens = 3 * 80;
  job.recompute = GENERATE(Recompute::kNone, Recompute::kLayer);
  check_exact(job);
}

// The closed form counts half of the scores' square, T^2 / 2, for T (T + 1) / 2 products; and where values are not
// known the head is computed for every position.
TEST_CASE("the FLOPs of a dry run are those of the closed form", "[trainer][dry_run]") {
  const Change change = GENERATE(from_range(std::begin(kChanges), std::end(kChanges)));
  CAPTURE(change);
  DryRunJob job = small_job();
  change.apply(job);
  job.device = GENERATE(Device::kCpu, Device::kCuda);
  const ModelConfig& m = job.model;
  const std::int64_t sequences = job.train.sequences(m.context);
  const auto attention_layers = static_cast<double>(m.n_layers * (m.ffn.kind == FfnKind::kAttention ? 2 : 1));
  const double diagonal = 6 * attention_layers * static_cast<double>(m.attention.n_heads * m.attention.d_head);
  const ModelCost cost = cost_of(m);
  double a_token = cost.flops() + diagonal;
  if (job.recompute == Recompute::kLayer) a_token += (cost.flops() - cost.head.flops + diagonal) / 3;
  CHECK(dry_run(job).flops == Approx(a_token * static_cast<double>(sequences * m.context)).epsilon(1e-12));
}

TEST_CASE("a step of many passes is counted from few", "[trainer][dry_run]") {
  DryRunJob job = small_job();
  const double flops = dry_run(job).flops;
  job.train.batch_tokens *= 1000;
  CHECK(dry_run(job).flops == Approx(1000 * flops).epsilon(1e-12));
}

TEST_CASE("a step's tokens are not there in a dry run", "[trainer][dry_run]") {
  DryRunJob job = small_job();
  job.train.batch_tokens = std::int64_t{1} << 40;  // 4 TiB, which no machine that runs this has
  CHECK(dry_run(job).working > std::int64_t{8} << 40);
}

TEST_CASE("state in bf16 takes 4 bytes a parameter beside bf16 weights, in f32 12", "[trainer][dry_run]") {
  DryRunJob job = small_job();
  job.device = Device::kCuda;
  job.precision = DType::kBF16;
  job.model.d_model = 2048;  // so that rounding is small
  job.model.ffn.d_hidden = 8192;
  job.model.vocab_size = 32000;
  const double parameters = static_cast<double>(cost_of(job.model).parameters());
  const auto a_parameter = [&](std::int64_t bytes) { return static_cast<double>(bytes) / parameters; };
  const DryRun f32 = dry_run(job);
  job.state_precision = StatePrecision::kBF16;
  const DryRun bf16 = dry_run(job);
  CHECK(a_parameter(f32.weights) == Approx(2).epsilon(0.1));
  CHECK(a_parameter(f32.gradients) == Approx(4).epsilon(0.1));
  CHECK(a_parameter(f32.optimizer) == Approx(12).epsilon(0.1));
  CHECK(a_parameter(bf16.optimizer) == Approx(4).epsilon(0.1));
  CHECK(a_parameter(f32.checkpoint_copy) == Approx(12).epsilon(0.01));
  CHECK(a_parameter(bf16.checkpoint_copy) == Approx(6).epsilon(0.01));
}

}  // namespace spikesink
