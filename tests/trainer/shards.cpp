#include "trainer/dist/shards.h"

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "tests/models/support.h"
#include "tests/trainer/thread_ranks.h"
#include "trainer/dry_run.h"
#include "trainer/training_step.h"

namespace spikesink {
namespace {

constexpr ShardKind kKinds[] = {ShardKind::kNone, ShardKind::kOptimizer, ShardKind::kGradients, ShardKind::kParameters};
bool of_every_pass(ShardKind kind) { return kind == ShardKind::kGradients || kind == ShardKind::kParameters; }

struct Job {
  ModelConfig model = test::tiny_config();
  std::int64_t sequences = 5, micro_batch = 1, steps = 20;
  int world = 1;
  ShardKind kind = ShardKind::kOptimizer;
  ReducePrecision reduce = ReducePrecision::kF32;
  Recompute recompute = Recompute::kNone;
  DType dtype = DType::kF64;

  TrainConfig train() const {
    return {.batch_tokens = sequences * model.context,
            .micro_batch = micro_batch,
            .loss_from_position = 2,
            .optimizer = {.eps = 1e-4}};
  }
};
std::ostream& operator<<(std::ostream& out, const Job& job) {
  const auto name = [](auto kind) { return names_of(kind)[static_cast<std::size_t>(kind)]; };
  return out << name(job.kind) << " on " << job.world << " ranks, " << job.sequences << " sequences, "
             << job.micro_batch << " a pass, recompute " << name(job.recompute);
}

/// Group and name to values; each element once.
using State = std::map<std::string, std::vector<double>>;

/// What a run shows; of ranks, by rank.
struct Outcome {
  std::vector<double> losses, norms;
  bool ranks_agree = true;
  State first, last;
  int twice = 0;                 ///< elements that several ranks have
  std::vector<Traffic> traffic;  ///< of the last step
  std::vector<std::int64_t> peaks;
};

void add_slices(State& state, int& twice, const std::vector<StateSlice>& slices) {
  for (const StateSlice& slice : slices) {
    auto& whole = state[slice.group + slice.name];
    whole.resize(static_cast<std::size_t>(slice.whole.numel()), NAN);
    const auto values = test::values(slice.values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      double& to = whole[static_cast<std::size_t>(slice.first) + i];
      twice += !std::isnan(to);
      to = values[i];
    }
  }
}

/// Calls f(TrainingStep&, samples of the rank) on every rank.
template <class F>
void on_ranks(const Job& job, F&& f, std::uint64_t seed = 1) {
  const auto samples = test::random_samples(job.model, job.sequences, 3);
  const auto row = static_cast<std::size_t>(job.model.context + 1);
  const TrainConfig train = job.train();
  test::run_ranks(
      job.world,
      [&](Communicator& communicator) {
        const Stream stream = Stream::cpu(1);
        Decoder model(job.model, job.recompute);
        TrainingStep training({.stream = stream,
                               .model = model,
                               .precision = job.dtype,
                               .train = train,
                               .shards = {.kind = job.kind, .reduce = job.reduce},
                               .communicator = communicator});
        const StepShare& share = training.share();
        f(training, std::span(samples).subspan(static_cast<std::size_t>(share.first) * row,
                                               static_cast<std::size_t>(share.count) * row));
      },
      seed);
}

Outcome outcome_of(const Job& job, std::uint64_t seed = 1) {
  Outcome out;
  out.traffic.resize(static_cast<std::size_t>(job.world));
  out.peaks.resize(static_cast<std::size_t>(job.world));
  std::mutex mutex;
  std::map<int, std::vector<double>> losses, norms;
  on_ranks(
      job,
      [&](TrainingStep& training, std::span<const std::int32_t> samples) {
        Communicator& communicator = training.setup().communicator;
        const auto rank = static_cast<std::size_t>(communicator.rank());
        const Stream& stream = training.setup().stream;
        training.optimizer().init();
        {
          const std::lock_guard lock(mutex);
          add_slices(out.first, out.twice, training.optimizer().slices());
        }
        stream.pool->release_cached();
        stream.pool->reset_peak();
        for (std::int64_t step = 1; step <= job.steps; ++step) {
          const Traffic before = communicator.traffic();
          training.run(samples, 0.01, step);
          const Traffic after = communicator.traffic();
          out.traffic[rank] = {after.sent_bytes - before.sent_bytes, after.operations - before.operations};
          const double loss = training.loss(), norm = training.grad_norm();
          const std::lock_guard lock(mutex);
          losses[communicator.rank()].push_back(loss);
          norms[communicator.rank()].push_back(norm);
        }
        out.peaks[rank] = training.memory().peak;
        const std::lock_guard lock(mutex);
        add_slices(out.last, out.twice, training.optimizer().slices());
      },
      seed);
  out.losses = losses[0];
  out.norms = norms[0];
  for (int rank = 1; rank < job.world; ++rank)
    out.ranks_agree = out.ranks_agree && losses[rank] == out.losses && norms[rank] == out.norms;
  return out;
}

/// The largest difference, relative to numbers above 1; infinite where names or sizes differ.
double difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}
double difference(const State& a, const State& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (const auto& [name, values] : a)
    worst = std::max(worst, b.contains(name) ? difference(values, b.at(name)) : INFINITY);
  return worst;
}

/// Of states of the same names.
bool same_bits(const State& a, const State& b) {
  return std::ranges::all_of(a, [&](const auto& of) {
    const auto& [name, values] = of;
    return std::memcmp(values.data(), b.at(name).data(), values.size() * sizeof(double)) == 0;
  });
}

/// Elements of each flat buffer, padded for `world` ranks.
std::vector<std::int64_t> padded_sizes(const ModelConfig& config, std::int64_t world) {
  std::vector<std::int64_t> sizes;
  const Decoder model(config);
  for (const LayerBuffer& layer : model.params().layers())
    sizes.push_back((layer.numel + 16 * world - 1) / (16 * world) * 16 * world);
  return sizes;
}

}  // namespace

TEST_CASE("every kind of sharding trains on any number of ranks as one rank does", "[trainer][shards]") {
  Job job;
  job.recompute = GENERATE(Recompute::kNone, Recompute::kCheap, Recompute::kLayer);
  SECTION("passes and ranks that do not divide the step") {}
  SECTION("more ranks than sequences, one pass a step") {
    job.sequences = 3;
    job.micro_batch = 3;
  }
  SECTION("tied embeddings, without a final norm") {
    job.model.tie_embeddings = true;
    job.model.norm.final = false;
  }
  SECTION("tied embeddings, a token gate, a scaled embedding") {
    job.model.tie_embeddings = true;
    job.model.attention.gate.source = GateSource::kToken;
    job.model.embedding_scale = EmbeddingScale::kLearned;
  }
  const Outcome alone = outcome_of(job);
  REQUIRE(alone.losses.back() < alone.losses.front() - 0.1);
  for (job.world = 1; job.world <= 4; ++job.world) {
    std::map<ShardKind, Outcome> of;
    for (const ShardKind kind : kKinds) {
      job.kind = kind;
      CAPTURE(job);
      const Outcome& out = of[kind] = outcome_of(job, 10 + static_cast<std::uint64_t>(job.world));
      CHECK(out.ranks_agree);
      CHECK(out.twice == 0);
      CHECK(difference(out.first, alone.first) == 0);
      CHECK(difference(out.losses, alone.losses) < 1e-11);
      CHECK(difference(out.norms, alone.norms) < 1e-11);
      CHECK(difference(out.last, alone.last) < 1e-11);
      // Kinds differ in what they sum up first, ranks or passes, so not where there is one pass.
      const bool same_order = job.micro_batch >= job.sequences || !of_every_pass(kind);
      const Outcome& like = of[same_order ? ShardKind::kNone : ShardKind::kGradients];
      CHECK(out.losses == like.losses);
      CHECK(out.norms == like.norms);
      CHECK(difference(out.last, like.last) == 0);
    }
  }
}

TEST_CASE("the order in which operations run and end changes no bit", "[trainer][shards]") {
  Job job{.sequences = 7, .micro_batch = 2, .steps = 4, .world = 3, .dtype = DType::kF32};
  job.model.n_layers = 4;
  job.kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  CAPTURE(job);
  const Outcome first = outcome_of(job);
  for (std::uint64_t seed = 2; seed < 12; ++seed) {
    const Outcome again = outcome_of(job, seed);
    CHECK(again.losses == first.losses);
    CHECK(difference(again.last, first.last) == 0);
  }
}

TEST_CASE("ranks send what the theory of their kind says", "[trainer][shards]") {
  Job job{.sequences = 9, .micro_batch = 1, .steps = 2, .dtype = DType::kF32};
  job.model.n_layers = GENERATE(1, 3);
  job.world = GENERATE(2, 3, 4);
  job.kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  job.reduce = GENERATE(ReducePrecision::kF32, ReducePrecision::kBF16);
  CAPTURE(job, job.reduce == ReducePrecision::kBF16);
  const std::int64_t passes = (job.sequences + job.world - 1) / job.world, L = job.model.n_layers;
  const std::int64_t reduced = job.reduce == ReducePrecision::kF32 ? 4 : 2;
  std::int64_t bytes = 0;
  const auto sizes = padded_sizes(job.model, job.world);
  for (std::int64_t l = 0; l < std::ssize(sizes); ++l) {
    // With two layers held, the last two of a forward serve its backward, and the first two the next pass.
    const std::int64_t gathers = 2 * passes - (l >= L ? passes : 0) - (l <= 1 ? passes - 1 : 0);
    const std::int64_t n = sizes[static_cast<std::size_t>(l)];
    switch (job.kind) {
      case ShardKind::kNone:
        bytes += n * (reduced + 4);
        break;
      case ShardKind::kOptimizer:
        bytes += n * (reduced + 4);
        break;
      case ShardKind::kGradients:
        bytes += n * (passes * reduced + 4);
        break;
      case ShardKind::kParameters:
        bytes += n * (passes * reduced + gathers * 4);
        break;
    }
  }
  bytes += 2 * 2 * 8;  // loss and norm, all-reduced
  const Outcome out = outcome_of(job);
  const TrainConfig train = job.train();
  for (int rank = 0; rank < job.world; ++rank) {
    const std::int64_t sent = out.traffic[static_cast<std::size_t>(rank)].sent_bytes;
    CHECK(sent == Approx(bytes / job.world * (job.world - 1)).margin(8 * job.world));  // whole bytes of the scalars
    CHECK(dry_run({.model = job.model,
                   .train = train,
                   .shard = job.kind,
                   .reduce_precision = job.reduce,
                   .rank = rank,
                   .world = job.world,
                   .threads = 1})
              .sent_bytes == static_cast<double>(sent));
  }
}

TEST_CASE("a dry run takes to the byte what each rank takes", "[trainer][shards][dry_run]") {
  Job job{.sequences = 7, .micro_batch = 2, .steps = 3};
  job.model.n_layers = 3;
  job.dtype = GENERATE(DType::kF32, DType::kF64);
  job.recompute = GENERATE(Recompute::kNone, Recompute::kLayer);
  job.world = GENERATE(1, 2, 4, 9);
  job.kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  const bool tied = GENERATE(false, true);
  job.model.tie_embeddings = tied;
  if (job.dtype == DType::kF32) job.reduce = ReducePrecision::kBF16;
  CAPTURE(job, tied, name_of(job.dtype));
  const TrainConfig train = job.train();
  const Outcome out = outcome_of(job);
  for (int rank = 0; rank < job.world; ++rank) {
    const DryRun dry = dry_run({.model = job.model,
                                .train = train,
                                .precision = job.dtype,
                                .recompute = job.recompute,
                                .shard = job.kind,
                                .reduce_precision = job.reduce,
                                .rank = rank,
                                .world = job.world,
                                .threads = 1});
    CAPTURE(rank);
    CHECK(dry.steps.peak == out.peaks[static_cast<std::size_t>(rank)]);
    CHECK(dry.weights + dry.gradients + dry.optimizer + dry.activations + dry.working + dry.other == dry.memory.peak);
  }
}

TEST_CASE("the FLOPs of all ranks are those of one", "[trainer][shards][dry_run]") {
  Job job{.sequences = 11, .micro_batch = 2};
  const TrainConfig train = job.train();
  DryRunJob dry{.model = job.model, .train = train, .threads = 1};
  const double alone = dry_run(dry).flops;
  dry.shard = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  dry.world = GENERATE(2, 3, 13);
  double sum = 0;
  for (dry.rank = 0; dry.rank < dry.world; ++dry.rank) sum += dry_run(dry).flops;
  CHECK(sum == Approx(alone).epsilon(1e-12));
}

TEST_CASE("a rank's memory shrinks by what its kind shares out", "[trainer][shards][dry_run]") {
  DryRunJob job{.model = {.d_model = 256, .n_layers = 12, .context = 128, .vocab_size = 1024},
                .train = {.batch_tokens = 8 * 128, .micro_batch = 1},
                .threads = 1};
  job.model.attention = {.n_heads = 4, .d_head = 64};
  job.model.ffn.d_hidden = 1024;
  const DryRun alone = dry_run(job);
  job.world = 8;
  const auto shares = [&](ShardKind kind) {
    job.shard = kind;
    const DryRun run = dry_run(job);
    const auto share = [](std::int64_t of, std::int64_t whole) {
      return static_cast<double>(of) / static_cast<double>(whole);
    };
    return std::array{share(run.weights, alone.weights), share(run.gradients, alone.gradients),
                      share(run.optimizer, alone.optimizer)};
  };
  const std::map<ShardKind, std::array<double, 3>> want{{ShardKind::kNone, {1, 1, 1}},
                                                        {ShardKind::kOptimizer, {1, 1, 0.125}},
                                                        {ShardKind::kGradients, {1, 0.125, 0.125}},
                                                        {ShardKind::kParameters, {0.125, 0.125, 0.125}}};
  for (const auto& [kind, of] : want)
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(static_cast<int>(kind), i);
      CHECK(shares(kind)[i] == Approx(of[i]).epsilon(0.02));
    }
}

TEST_CASE("gradients that are sent in bf16 train nearly as those in f32", "[trainer][shards]") {
  Job job{.world = 3, .dtype = DType::kF32};
  job.kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  CAPTURE(job);
  const Outcome exact = outcome_of(job);
  job.reduce = ReducePrecision::kBF16;
  const Outcome rounded = outcome_of(job);
  CHECK(rounded.ranks_agree);
  CHECK(difference(rounded.losses, exact.losses) < 0.01);
  CHECK(rounded.losses != exact.losses);
}

TEST_CASE("forward-only passes see all values, on all ranks or on one that others follow", "[trainer][shards]") {
  Job job{.steps = 2, .world = 3};
  job.model.tie_embeddings = GENERATE(false, true);
  job.kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  const bool all = GENERATE(false, true);
  CAPTURE(job, all, job.model.tie_embeddings);
  const auto seen = test::random_samples(job.model, 3, 9);
  const auto losses_of = [&](const Job& of) {
    std::mutex mutex;
    std::vector<double> losses;
    on_ranks(of, [&](TrainingStep& training, std::span<const std::int32_t> samples) {
      training.optimizer().init();
      const Decoder& model = training.setup().model;
      const auto look = [&] {
        if (all || training.setup().communicator.rank() == 0) {
          const double loss = mean_loss(training.setup().stream, model, seen, training.shape());
          const std::lock_guard lock(mutex);
          losses.push_back(loss);
        } else {
          for (int pass = 0; pass < 3; ++pass) model.empty_pass(Pass::Mode::kForwardOnly);
        }
      };
      look();
      for (std::int64_t step = 1; step <= of.steps; ++step) training.run(samples, 0.01, step);
      look();
    });
    std::ranges::sort(losses);
    return losses;
  };
  Job one = job;
  one.world = 1;
  const auto want = losses_of(one);
  const auto got = losses_of(job);
  REQUIRE(got.size() == (all ? 6 : 2));
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(want[i / (got.size() / 2)]).epsilon(1e-12));
}

TEST_CASE("passes are left to a recording only where hooks have nothing to do", "[trainer][shards]") {
  Job job{.world = 2};
  job.kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  CAPTURE(job);
  std::mutex mutex;
  std::set<std::array<bool, 3>> found;
  on_ranks(job, [&](TrainingStep& training, std::span<const std::int32_t> samples) {
    training.optimizer().init();
    training.run(samples, 0.01, 1);
    Shards& shards = training.shards();
    const auto idle = [&](bool last) {
      shards.expect_pass(last);
      return shards.idle();
    };
    const bool at_once = idle(false);
    shards.settle();
    const bool settled = idle(false), last = idle(true);
    const std::lock_guard lock(mutex);
    found.insert({at_once, settled, last});
  });
  const bool gathers = job.kind != ShardKind::kNone;
  CHECK(found == std::set<std::array<bool, 3>>{{!gathers, !of_every_pass(job.kind), false}});
}

TEST_CASE("what is not finite changes nothing on any rank, and all name the same place", "[trainer][shards]") {
  Job job{.sequences = 3, .world = 4};
  job.kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  CAPTURE(job);
  std::mutex mutex;
  std::set<std::string> modules, gradients;
  int changed = 0;
  on_ranks(job, [&](TrainingStep& training, std::span<const std::int32_t> samples) {
    training.optimizer().init();
    // Written as a checkpoint would be: an element of a matrix in the middle, by the rank that has it.
    for (const StateSlice& slice : training.optimizer().updated_slices())
      if (slice.group == "weights/" && slice.name == "model.layers.0.mlp.down_proj.weight" && slice.first == 0)
        slice.values.span<double>()[0] = INFINITY;
    training.optimizer().slices_written();
    State before, after;
    int twice = 0;
    add_slices(before, twice, training.optimizer().slices());
    training.run(samples, 0.01, 1);
    const bool bad = !std::isfinite(training.loss()) && !std::isfinite(training.grad_norm());
    const std::string module = training.first_not_finite_activation(samples);
    const std::string gradient = training.first_not_finite_gradient(samples);
    add_slices(after, twice, training.optimizer().slices());
    const std::lock_guard lock(mutex);
    changed += !bad || !same_bits(before, after);
    modules.insert(module);
    gradients.insert(gradient);
  });
  CHECK(changed == 0);
  CHECK(modules == std::set<std::string>{"model.layers.0.mlp on rank 1"});  // rank 0 has no sequence
  REQUIRE(gradients.size() == 1);
  CHECK_THAT(*gradients.begin(), Catch::StartsWith("the gradient of ") && Catch::EndsWith(" on rank 1"));
}

}  // namespace spikesink
