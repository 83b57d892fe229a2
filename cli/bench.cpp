#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/session.h"
#include "configs/reader.h"
#include "trainer/train_bench.h"

namespace spikesink::cli {
namespace {

struct BenchOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t steps = 7;
  bool json = false;
};

/// What is timed without a config: 34M parameters, 26M of them in the layers.
Config default_config() {
  Config c;
  c.model = {.d_model = 512, .n_layers = 8, .context = 512, .vocab_size = 8192};
  c.model.attention = {.n_heads = 8, .d_head = 64};
  c.train.batch_tokens = 4 * c.model.context;
  c.train.micro_batch = 4;
  return c;
}

void print(const TrainBenchResult& r) {
  const auto line = [](const char* name, double value, const char* unit, const std::string& note) {
    fmt::print("{:<16}{:>12.5g} {:<10} {}\n", name, value, unit, note);
  };
  line("parameters", static_cast<double>(r.parameters) / 1e6, "million", "");
  line("step", 1e3 * r.step_seconds, "ms",
       fmt::format("{} tokens; median of {}, {:.5g} to {:.5g}", r.tokens_per_step, r.steps, 1e3 * r.step_seconds_min,
                   1e3 * r.step_seconds_max));
  line("tokens", r.tokens_per_second(), "per second", fmt::format("{} threads", r.threads));
  line("model", r.tokens_per_second() * r.flops_per_token / 1e9, "GFLOP/s",
       fmt::format("{:.4g} FLOPs a token", r.flops_per_token));
  line("matrix product", r.matrix_rate / 1e9, "GFLOP/s", "large product, between the steps");
  line("MFU", 100 * r.mfu(), "%", "model over matrix product");
  line("tensors", static_cast<double>(r.pool_peak_bytes) / 1048576, "MiB", "peak of the pool");
  line("process", static_cast<double>(r.process_peak_bytes) / 1048576, "MiB", "peak resident memory");
}

void print_json(const TrainBenchResult& r, const Config& config) {
  const ModelConfig& m = config.model;
  fmt::print("{}\n", nlohmann::ordered_json{{"parameters", r.parameters},
                                            {"d_model", m.d_model},
                                            {"n_layers", m.n_layers},
                                            {"n_heads", m.attention.n_heads},
                                            {"d_head", m.attention.d_head},
                                            {"d_hidden", m.ffn.hidden(m.d_model)},
                                            {"vocab_size", m.vocab_size},
                                            {"context", m.context},
                                            {"sequences", config.train.sequences(m.context)},
                                            {"micro_batch", config.train.micro_batch},
                                            {"threads", r.threads},
                                            {"steps", r.steps},
                                            {"step_seconds", r.step_seconds},
                                            {"step_seconds_min", r.step_seconds_min},
                                            {"step_seconds_max", r.step_seconds_max},
                                            {"tokens_per_second", r.tokens_per_second()},
                                            {"flops_per_token", r.flops_per_token},
                                            {"matrix_rate", r.matrix_rate},
                                            {"mfu", r.mfu()},
                                            {"pool_peak_bytes", r.pool_peak_bytes},
                                            {"process_peak_bytes", r.process_peak_bytes}}
                         .dump());
}

void run(const BenchOptions& options) {
  const Config config = options.config.empty() ? default_config() : read_config(options.config, options.overrides);
  const Session session = make_session(config, /*with_gradients=*/true);
  session.model->params().init(1);
  const TrainBenchResult result = bench_training(session.stream, *session.model, config.train, options.steps);
  options.json ? print_json(result, config) : print(result);
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "Time the program, each figure beside its limit");
  command->require_subcommand(1);
  CLI::App* train = command->add_subcommand(
      "train", "Whole training steps on random tokens, beside the rate of a large matrix product in the same run");
  auto options = std::make_shared<BenchOptions>();
  CLI::Option* config =
      train->add_option("CONFIG", options->config, "YAML file; default: 8 layers, d_model 512, context 512");
  train->add_option("--set", options->overrides, "key=value over the config; may be repeated")
      ->allow_extra_args(false)
      ->needs(config);
  train->add_option("--steps", options->steps, "steps to time")->check(CLI::PositiveNumber)->capture_default_str();
  train->add_flag("--json", options->json, "print one JSON object");
  train->footer("OMP_NUM_THREADS sets the number of threads.");
  train->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
