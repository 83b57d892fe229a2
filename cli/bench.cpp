#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <span>

#include "analysis/measure.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/session.h"
#include "configs/reader.h"
#include "io/failure.h"
#include "io/readable.h"
#include "trainer/dist/muted.h"
#include "trainer/dist/ranks.h"
#include "trainer/train_bench.h"

namespace spikesink::cli {
namespace {

struct BenchOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t steps = 7;
  bool variants = false, probe = false, json = false;
};

/// What is timed without a config: 34M parameters, 26M of them in the layers. No data is read.
constexpr const char* kDefaultConfig = R"(
model: {d_model: 512, n_layers: 8, context: 512, vocab_size: 8192, attention: {n_heads: 8, d_head: 64}}
data: {train: [random tokens]}
train: {steps: 1, batch_tokens: 2048, micro_batch: 4}
)";

/// Steps from one probe of a run to the next, in the mean: some are due by themselves, some with checkpoints.
double steps_between_probes(const Config& config) {
  const std::int64_t own = config.metrics.logging.probe_every_steps, saves = config.checkpoint.every_steps;
  const auto rate = [](std::int64_t steps) { return 1 / static_cast<double>(steps); };
  return 1 / (own == 0 ? rate(saves)
                       : rate(own) + rate(saves) - static_cast<double>(std::gcd(own, saves)) * rate(own) * rate(saves));
}

/// What a probe takes of a run that probes every `interval` steps.
struct ProbeCost {
  double seconds;
  std::int64_t sequences;
  double interval;

  double share(double step_seconds) const { return seconds / (interval * step_seconds + seconds); }
};

/// Of the time of a step of several ranks, what one that sends nothing does not take.
double communication_share(const TrainBenchResult& r) { return 1 - r.seconds_without_sending / r.step_seconds; }

void print(const TrainBenchResult& r, const std::optional<ProbeCost>& probe) {
  const auto line = [](const char* name, double value, const char* unit, const std::string& note) {
    fmt::print("{:<16}{:>12.5g} {:<10} {}\n", name, value, unit, note);
  };
  line("parameters", static_cast<double>(r.parameters) / 1e6, "million", "");
  line("step", 1e3 * r.step_seconds, "ms",
       fmt::format("{} tokens; median of {}, {:.5g} to {:.5g}", r.tokens_per_step, r.steps, 1e3 * r.step_seconds_min,
                   1e3 * r.step_seconds_max));
  line("tokens", r.tokens_per_second(), "per second",
       r.graph_replays > 0 ? counted(r.graph_replays, "CUDA graph replay") : counted(r.threads, "thread"));
  line("model", r.tokens_per_second() * r.flops_per_token / 1e9, "GFLOP/s",
       fmt::format("{:.4g} FLOPs a token", r.flops_per_token));
  if (r.matrix_rate != r.measured_matrix_rate)
    line("stated rate", r.matrix_rate / 1e9, "GFLOP/s", r.device + ", dense bf16");
  line("matrix product", r.measured_matrix_rate / 1e9, "GFLOP/s", "a large one, in the same run");
  line("MFU", 100 * r.mfu(), "%",
       r.matrix_rate != r.measured_matrix_rate ? "model over stated rate" : "model over matrix product");
  line("tensors", static_cast<double>(r.pool_peak_bytes) / 1048576, "MiB", "peak of the pool");
  if (r.device_total_bytes > 0)
    line("GPU", static_cast<double>(r.device_used_bytes) / 1048576, "MiB",
         fmt::format("in use after the steps, of {:.5g}; pools hold {:.5g}",
                     static_cast<double>(r.device_total_bytes) / 1048576,
                     static_cast<double>(r.pool_reserved_bytes) / 1048576));
  line("process", static_cast<double>(r.process_peak_bytes) / 1048576, "MiB", "peak resident memory");
  if (r.world > 1) {
    line("ranks", r.world, "", "figures of rank 0");
    line("sent", static_cast<double>(r.sent_bytes) / 1048576, "MiB", "a step, by a rank");
    line("not sending", 1e3 * r.seconds_without_sending, "ms",
         fmt::format("a step, beside those above; communication takes {:.3g} % of a step",
                     100 * communication_share(r)));
  }
  if (probe)
    line("probe", 1e3 * probe->seconds, "ms",
         fmt::format("{}; {:.3g} % of the time at one every {:.4g} steps", counted(probe->sequences, "sequence"),
                     100 * probe->share(r.step_seconds), probe->interval));
}

void print_json(const TrainBenchResult& r, const Config& config, const std::optional<ProbeCost>& probe) {
  const ModelConfig& m = config.model;
  nlohmann::ordered_json all{{"parameters", r.parameters},
                             {"d_model", m.d_model},
                             {"n_layers", m.n_layers},
                             {"n_heads", m.attention.n_heads},
                             {"d_head", m.attention.d_head},
                             {"d_hidden", m.ffn.hidden(m.d_model)},
                             {"vocab_size", m.vocab_size},
                             {"context", m.context},
                             {"sequences", config.train.sequences(m.context)},
                             {"micro_batch", config.train.micro_batch},
                             {"device", r.device},
                             {"threads", r.threads},
                             {"steps", r.steps},
                             {"step_seconds", r.step_seconds},
                             {"step_seconds_min", r.step_seconds_min},
                             {"step_seconds_max", r.step_seconds_max},
                             {"tokens_per_second", r.tokens_per_second()},
                             {"flops_per_token", r.flops_per_token},
                             {"matrix_rate", r.matrix_rate},
                             {"measured_matrix_rate", r.measured_matrix_rate},
                             {"mfu", r.mfu()},
                             {"pool_peak_bytes", r.pool_peak_bytes},
                             {"pool_reserved_bytes", r.pool_reserved_bytes},
                             {"process_peak_bytes", r.process_peak_bytes}};
  if (r.device_total_bytes > 0) {
    all["device_used_bytes"] = r.device_used_bytes;
    all["device_total_bytes"] = r.device_total_bytes;
    all["graph_replays"] = r.graph_replays;
  }
  if (r.world > 1) {
    all["world"] = r.world;
    all["sent_bytes"] = r.sent_bytes;
    all["step_seconds_without_communication"] = r.seconds_without_sending;
    all["communication_share"] = communication_share(r);
  }
  if (probe) {
    all["probe_seconds"] = probe->seconds;
    all["probe_sequences"] = probe->sequences;
    all["probe_every_steps"] = probe->interval;
    all["probe_share"] = probe->share(r.step_seconds);
  }
  fmt::print("{}\n", all.dump());
}

Config config_of(const BenchOptions& options, const std::vector<std::string>& more = {}) {
  std::vector<std::string> overrides = options.overrides;
  overrides.insert(overrides.end(), more.begin(), more.end());
  return options.config.empty() ? read_config_text(kDefaultConfig, "bench train", overrides)
                                : read_config(options.config, overrides);
}

/// A config's model, ready to be timed.
class Timed {
 public:
  Timed(const Config& config, const Stream& stream, std::shared_ptr<Communicator> communicator)
      : config_(config),
        session_(make_session(config, stream)),
        communicator_(std::move(communicator)),
        step_({.stream = session_.stream,
               .model = *session_.model,
               .precision = config.system.resolved_precision(),
               .train = config_.train,
               .state_precision = config.system.state_precision,
               .shards = {.kind = config.system.shard, .reduce = config.system.resolved_reduce()},
               .communicator = *communicator_}) {}
  TrainBenchResult run(std::int64_t steps, MutedCommunicator* muted = nullptr) {
    return bench_training(step_, steps, muted);
  }
  /// The config's probe, on random tokens, after a smaller one for warm-up. Nothing is written.
  ProbeCost probe() const {
    const std::int64_t sequences = config_.metrics.probe.sequences;
    const MeasureOptions options{.metrics = config_.metrics.probe,
                                 .micro_batch = config_.train.micro_batch,
                                 .loss_from_position = config_.train.loss_from_position};
    const std::vector<std::int32_t> samples = random_samples(config_.model, sequences);
    const auto few = static_cast<std::size_t>(std::min(sequences, config_.train.micro_batch));
    const auto row = static_cast<std::size_t>(config_.model.context + 1);
    measure(session_.stream, *session_.model, std::span(samples).first(few * row), options);
    const auto begin = std::chrono::steady_clock::now();
    measure(session_.stream, *session_.model, samples, options);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return {.seconds = seconds, .sequences = sequences, .interval = steps_between_probes(config_)};
  }

 private:
  const Config config_;
  const Session session_;
  const std::shared_ptr<Communicator> communicator_;
  TrainingStep step_;
};

struct NamedVariant {
  std::string name;
  std::vector<std::string> overrides;
};
/// One change each, over whatever the config is.
std::vector<NamedVariant> variants() {
  std::vector<NamedVariant> all{
      {"layernorm", {"model.norm.kind=layernorm"}},
      {"dynamic_tanh", {"model.norm.kind=dynamic_tanh", "model.embedding_scale=learned"}},
      {"sandwich", {"model.norm.output=true"}},
      {"sandwich qk", {"model.norm.input=false", "model.norm.output=true", "model.norm.qk=full"}},
      {"qk head", {"model.norm.qk=head"}},
      {"gelu", {"model.ffn.kind=gelu"}},
      {"gelu tanh", {"model.ffn.kind=gelu", "model.ffn.gelu=tanh"}},
      {"linear", {"model.ffn.kind=linear"}},
      {"attention", {"model.ffn.kind=attention"}},
  };
  for (const std::string_view source : names_of(GateSource{}))
    for (const std::string_view granularity : names_of(GateGranularity{}))
      if (source != "none")
        all.push_back({fmt::format("gate {} {}", source, granularity),
                       {fmt::format("model.attention.gate={{source: {}, granularity: {}}}", source, granularity)}});
  return all;
}

Timed timed_alone(const Config& config) { return {config, make_stream(config.system), alone()}; }

void run_variants(const BenchOptions& options) {
  Timed baseline = timed_alone(config_of(options));
  if (!options.json)
    fmt::print("{:<28}{:>12}{:>14}{:>14}{:>18}\n", "variant", "step, ms", "time ratio", "FLOP ratio",
               "time over FLOPs");
  for (const auto& [name, overrides] : variants()) {
    const TrainBenchResult base = baseline.run(options.steps);
    const TrainBenchResult result = timed_alone(config_of(options, overrides)).run(options.steps);
    const double time = result.step_seconds / base.step_seconds, flops = result.flops_per_token / base.flops_per_token;
    if (options.json)
      fmt::print("{}\n", nlohmann::ordered_json{{"variant", name},
                                                {"step_seconds", result.step_seconds},
                                                {"baseline_step_seconds", base.step_seconds},
                                                {"time_ratio", time},
                                                {"flop_ratio", flops}}
                             .dump());
    else
      fmt::print("{:<28}{:>12.1f}{:>14.3f}{:>14.3f}{:>18.3f}\n", name, 1e3 * result.step_seconds, time, flops,
                 time / flops);
    std::fflush(stdout);
  }
}

void run(const BenchOptions& options, Ranks& ranks) {
  if (options.variants) {
    if (ranks.world() > 1)
      throw UsageError("bench train --variants: runs as one process; start it without mpirun or srun");
    return run_variants(options);
  }
  const Config config = config_of(options);
  ranks.set_timeout(config.system.rank_timeout);
  const Stream stream = make_stream(config.system, ranks);
  const auto communicator = ranks.communicator(stream);
  const auto mutable_ranks = std::make_shared<MutedCommunicator>(*communicator);
  Timed timed(config, stream, mutable_ranks);
  const Abandoning guard(*mutable_ranks);
  const TrainBenchResult result = timed.run(options.steps, ranks.world() > 1 ? mutable_ranks.get() : nullptr);
  const std::optional<ProbeCost> probe = options.probe ? std::optional(timed.probe()) : std::nullopt;
  options.json ? print_json(result, config, probe) : print(result, probe);
}

}  // namespace

void add_bench_command(CLI::App& app, Ranks& ranks) {
  CLI::App* command = app.add_subcommand("bench", "Time the program, each figure beside its limit");
  command->require_subcommand(1);
  command->footer(
      "Each command says more by --help. Examples\n"
      "  spikesink bench kernels --only attention     a kernel, forward and backward, beside a matrix product\n"
      "  spikesink bench train CONFIG                 whole steps of a config, and their share of the machine's rate\n"
      "  spikesink bench data                         from shards to samples");
  add_bench_kernels_command(*command);
  add_bench_data_command(*command);
  CLI::App* train = command->add_subcommand(
      "train", "Whole training steps on random tokens, beside the rate of a large matrix product in the same run");
  auto options = std::make_shared<BenchOptions>();
  train->add_option("CONFIG", options->config, "YAML file; default: 8 layers, d_model 512, context 512");
  train->add_option("--set", options->overrides, "key=value over the config; may be repeated")->allow_extra_args(false);
  train->add_option("--steps", options->steps, "steps to time")->check(at_least<1>)->capture_default_str();
  CLI::Option* const variants_flag = train->add_flag(
      "--variants", options->variants,
      fmt::format("every kind of norm, FFN and gate against the config, in alternation: takes as long as {} "
                  "runs without it",
                  2 * variants().size()));
  train->add_flag("--probe", options->probe, "time the probe of the config's metrics as well")->excludes(variants_flag);
  train->add_flag("--json", options->json, "print one JSON object a line");
  train->footer(
      "A step is what a run's is: passes of train.micro_batch sequences, then the optimizer. OMP_NUM_THREADS sets the\n"
      "number of CPU threads. On a GPU whose maker states a dense bf16 rate, MFU is the share of that. Under mpirun\n"
      "the steps run without communication too, to show what it adds.\n\n"
      "Examples\n"
      "  spikesink bench train\n"
      "  spikesink bench train configs/benchmark/7b_t4096.yaml --probe       on one 80 GB GPU");
  train->callback([options, &ranks] { run(*options, ranks); });
}

}  // namespace spikesink::cli
