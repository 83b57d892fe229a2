#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "analysis/probe.h"
#include "analysis/unigram.h"
#include "cli/commands.h"
#include "cli/measured.h"
#include "cli/options.h"
#include "io/failure.h"
#include "io/json_text.h"
#include "io/readable.h"
#include "io/sha256.h"

namespace spikesink::cli {
namespace {

struct EvalOptions {
  MeasuredOptions measured;
  std::int64_t context = 0;             ///< 0: the model's
  std::int64_t loss_from_position = 0;  ///< 0: that of the training
  bool json = false;
};

/// Tokens of a sequence, and the first of its positions that the loss counts.
struct Positions {
  std::int64_t context, loss_from;
};

Positions positions_of(const EvalOptions& options, const Config& config) {
  const Positions p{
      .context = options.context == 0 ? config.model.context : options.context,
      .loss_from = options.loss_from_position == 0 ? config.train.loss_from_position : options.loss_from_position};
  if (p.context > config.model.context)
    throw UsageError(
        fmt::format("--context {}: must lie between 2 and the model's context {}", p.context, config.model.context));
  if (p.loss_from > p.context)
    throw UsageError(fmt::format(
        "the loss begins at position {}, beyond the context {}: --loss-from-position must lie between 1 and that",
        p.loss_from, p.context));
  return p;
}

/// `sequences` were measured, and `asked` for.
void print(const std::string& checkpoint, const TrainingState& state, std::int64_t sequences, std::int64_t asked,
           const Positions& positions, double unigram, const Measurement& m) {
  const auto line = [](const std::string& name, double value, const std::string& note) {
    fmt::print("{:<26}{:>12.5g}   {}\n", name, value, note);
  };
  fmt::print("{}: step {}, {}\n", checkpoint, state.step, counted(state.tokens, "token"));
  fmt::print("{}{} of {}{}\n", counted(sequences, "sequence"),
             sequences < asked ? fmt::format(" (of {}: the text has no more)", asked) : "",
             counted(positions.context, "token"),
             positions.loss_from == 1 ? "" : fmt::format(", the loss from position {} on", positions.loss_from));
  line("loss", m.loss, "nats a token");
  line("perplexity", m.perplexity(), "");
  line("unigram_perplexity", unigram, "of the best predictor that sees no context, fitted to these very tokens");
  const auto sinks = [&](const SinkFigures& s, const std::string& suffix) {
    line("sink_ratio" + suffix, s.sink_ratio,
         fmt::format("share of heads with a sink in the first half of {} tokens", s.length));
    line("sink_first" + suffix, s.sink_first, "share of heads that give the first token that much");
    line("first_token_mass" + suffix, s.first_token_mass, "mean attention that the first token gets from later ones");
  };
  sinks(m.sinks, "");
  sinks(m.sinks_context, "_context");
  line("spike_max", m.spikes.spike_max, "largest |h| of the residual stream after any block");
  line("spike_mean", m.spikes.spike_mean, "mean over sequences of each one's largest |h|");
  line("spike_ratio", m.spikes.spike_ratio, "spike_max over the median |h| of the block that holds it");
  if (!m.gates) return;
  line("gate_mean", m.gates->gate_mean, "mean gate value over layers, heads and positions");
  line("gate_closed", m.gates->gate_closed, "share of gate values below 0.1");
}

void run(const EvalOptions& options) {
  const Measured measured = open_measured(options.measured);
  const Config& config = measured.config;
  const Positions positions = positions_of(options, config);
  const auto [context, loss_from] = positions;
  const auto samples = samples_of(measured, context);
  const Session session = load_model(measured);

  MeasureOptions what = measure_options(config, *measured.tokenizer);
  what.context = context;
  what.loss_from_position = loss_from;
  const Measurement measurement = measure(session.stream, *session.model, samples, what);
  const double unigram = unigram_perplexity(samples, context, loss_from);
  const auto sequences = static_cast<std::int64_t>(samples.size()) / (context + 1);
  if (!options.json)
    return print(measured.checkpoint, measured.state, sequences, config.metrics.probe.sequences, positions, unigram,
                 measurement);
  const auto* bytes = reinterpret_cast<const char*>(samples.data());
  nlohmann::ordered_json out{{"checkpoint", measured.checkpoint},
                             {"step", measured.state.step},
                             {"tokens", measured.state.tokens},
                             {"sequences", sequences},
                             {"context", context},
                             {"loss_from_position", loss_from},
                             {"text_sha256", sha256_hex(std::string_view(bytes, samples.size() * sizeof(samples[0])))},
                             {"sink_epsilon", config.metrics.probe.sink_epsilon},
                             {"sink_length", measurement.sinks.length},
                             {"loss", measurement.loss},
                             {"unigram_perplexity", unigram}};
  for (const auto& [name, value] : scalars_of(measurement)) out[name] = value;
  fmt::print("{}\n", json_text(out));
}

}  // namespace

void add_eval_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("eval", "Measure a checkpoint: perplexity, sink ratio, spikes");
  auto options = std::make_shared<EvalOptions>();
  add_measured_options(*command, options->measured, "metrics.sequences");
  command->add_option("--context", options->context, "tokens of a sequence; default, and the most: the model's context")
      ->check(at_least<2>);
  command
      ->add_option("--loss-from-position", options->loss_from_position,
                   "1-based first position of a sequence that loss and perplexity cover; default: that of the training")
      ->check(at_least<1>);
  command->add_flag("--json", options->json, "print one JSON object");
  command->footer(
      "Models whose loss began at different positions compare where both had one, by --loss-from-position.\n\n"
      "Examples:\n"
      "  spikesink eval runs/tiny --data other/*.jsonl.zst --sequences 500\n"
      "  spikesink eval runs/baseline --loss-from-position 1024 --json");
  command->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
