#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <span>

#include "analysis/study/results_folder.h"
#include "analysis/study/study.h"
#include "cli/commands.h"
#include "cli/measured.h"
#include "cli/options.h"
#include "cli/summary_table.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/readable.h"
#include "io/sha256.h"
#include "models/not_finite.h"
#include "trainer/run_log.h"

namespace spikesink::cli {
namespace {

constexpr std::int64_t kSequences = 100, kLength = 64;  // the paper's, and Gu et al.'s
constexpr std::int64_t kLongest = 4096;                 // the paper's longest evaluation
constexpr std::int64_t kContextTokens = 32768;          // of sequences as long as the context
constexpr std::int64_t kPassTokens = 2048;

struct AnalyzeOptions {
  MeasuredOptions measured;
  std::string out;
  std::int64_t length = 0, context = 0;  // 0: not named
  std::vector<std::string> only;
};

/// The analyses that are asked for, in the order of the table. UsageError for a name that is none.
std::vector<const AnalysisRow*> chosen(const std::vector<std::string>& only) {
  std::vector<const AnalysisRow*> rows;
  for (const AnalysisRow& row : analyses())
    if (only.empty() ? row.by_default : std::ranges::find(only, row.name) != only.end()) rows.push_back(&row);
  for (const std::string& name : only)
    if (std::ranges::find(analyses(), name, &AnalysisRow::name) == analyses().end()) {
      std::string names;
      for (const AnalysisRow& row : analyses()) names += (names.empty() ? "" : ", ") + std::string(row.name);
      throw UsageError(fmt::format("--only {}: no such analysis; there are {}", name, names));
    }
  return rows;
}

/// The length that samples are cut to.
std::int64_t context_of(const AnalyzeOptions& options, const ModelConfig& model) {
  if (options.context > model.context)
    throw UsageError(
        fmt::format("--context {}: the model's context is {}; name at most that", options.context, model.context));
  if (options.length > model.context)
    throw UsageError(
        fmt::format("--length {}: the model's context is {}; name at most that", options.length, model.context));
  if (options.context == 0) return std::min(model.context, std::max(kLongest, options.length));
  if (options.length > options.context)
    throw UsageError(fmt::format("--length {}: longer than --context {}; name at most that, or a longer context",
                                 options.length, options.context));
  return options.context;
}

/// UsageError where an analysis needs longer sequences.
void require_length(const AnalyzeOptions& options, const std::vector<const AnalysisRow*>& rows, std::int64_t length,
                    std::int64_t model_context) {
  for (const AnalysisRow* row : rows) {
    if (length >= row->shortest) continue;
    if (model_context < row->shortest)
      throw UsageError(fmt::format("--only {}: needs sequences of {} tokens, the model's context is {}; leave it out",
                                   row->name, row->shortest, model_context));
    throw UsageError(fmt::format("{0} {1}: too short for {2}; give {0} {3} or more, or leave --only {2} out",
                                 options.length > 0 ? "--length" : "--context", length, row->name, row->shortest));
  }
}

/// The first `length` tokens of the first `count` rows of `samples` (n, row).
std::vector<std::int32_t> beginnings(std::span<const std::int32_t> samples, std::int64_t row, std::int64_t count,
                                     std::int64_t length) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto sample = samples.subspan(static_cast<std::size_t>(i * row), static_cast<std::size_t>(length));
    tokens.insert(tokens.end(), sample.begin(), sample.end());
  }
  return tokens;
}

std::string sum_of(std::vector<std::int32_t> tokens, const std::vector<std::int32_t>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return sha256_hex({reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(tokens[0])});
}

/// DataError if a weight is not finite, or what a module makes of `tokens` (n, length): no figure would mean anything.
void require_finite(const Measured& measured, const Session& session, const std::vector<std::int32_t>& tokens,
                    std::int64_t length, std::int64_t micro_batch) {
  const auto refuse = [&](const std::string& what) {
    throw DataError(
        fmt::format("{}: {} is not finite, figures of this model would mean nothing; name a checkpoint "
                    "from before the training diverged",
                    measured.checkpoint, what));
  };
  for (const Param& param : session.model->params().all())
    if (!all_finite(session.stream, param.value)) refuse("the weight " + param.name());
  const std::string module =
      first_not_finite_activation(session.stream, *session.model, tokens,
                                  {.context = length - 1, .micro_batch = micro_batch, .loss_from_position = 1});
  if (!module.empty()) refuse("the output of " + module);
}

void run(AnalyzeOptions options) {
  const auto rows = chosen(options.only);
  if (options.measured.sequences == 0) options.measured.sequences = kSequences;
  const Measured measured = open_measured(options.measured);
  const Config& config = measured.config;
  const std::int64_t context = context_of(options, config.model),
                     length = options.length > 0 ? options.length : std::min(kLength, context);
  require_length(options, rows, length, config.model.context);
  std::string reasons;
  for (const AnalysisRow* row : rows)
    if (const std::string reason = row->not_for(config.model); !reason.empty())
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", row->name, reason);
  if (std::ranges::all_of(rows, [&](const AnalysisRow* row) { return !row->not_for(config.model).empty(); }))
    throw UsageError("--only " + reasons);

  const auto samples = samples_of(measured, context);
  const auto sequences = static_cast<std::int64_t>(samples.size()) / (context + 1);
  const std::int64_t at_context =
      context == length ? sequences : std::clamp<std::int64_t>(kContextTokens / context, 1, sequences);
  const auto tokens = beginnings(samples, context + 1, sequences, length),
             context_tokens = beginnings(samples, context + 1, at_context, context);
  const ProbeConfig& metrics = config.metrics.probe;
  const std::int64_t micro_batch =
      std::max<std::int64_t>(std::min(config.train.micro_batch * config.model.context, kPassTokens) / length, 1);
  const Session session = load_model(measured);
  require_finite(measured, session, beginnings(samples, context + 1, sequences, length + 1), length + 1, micro_batch);
  ResultsFolder folder(options.out, {.checkpoint = measured.checkpoint,
                                     .checkpoint_sum = sha256_hex(read_file(measured.checkpoint + "/state.json")),
                                     .step = measured.state.step,
                                     .sequences = sequences,
                                     .length = length,
                                     .context_sequences = at_context,
                                     .context = context,
                                     .text_sum = sum_of(tokens, context_tokens),
                                     .precision = std::string(name_of(config.system.resolved_precision())),
                                     .sink_epsilon = metrics.sink_epsilon,
                                     .spike_abs = metrics.spike.abs,
                                     .spike_ratio = metrics.spike.ratio});

  RunLog log(options.out + "/log.txt");
  if (const std::int64_t asked = config.metrics.probe.sequences; sequences < asked)
    log.line(fmt::format("{} of {}: the text has no more", counted(sequences, "sequence"), asked));
  log.line(fmt::format("{}: step {}, {} of {}, {} on {}", measured.checkpoint, measured.state.step,
                       counted(sequences, "sequence"), counted(length, "token"),
                       name_of(config.system.resolved_precision()), name_of(session.stream.device)));
  Study study{.stream = session.stream,
              .model = *session.model,
              .tokens = tokens,
              .length = length,
              .end_of_text = document_end(config, *measured.tokenizer),
              .tokenizer = measured.tokenizer.get(),
              .spike = metrics.spike,
              .sink_epsilon = metrics.sink_epsilon,
              .micro_batch = micro_batch,
              .context_tokens = context_tokens,
              .context = context};
  SummaryTable table;
  for (const AnalysisRow* row : rows) {
    if (const std::string reason = row->not_for(config.model); !reason.empty()) {
      log.line(fmt::format("{}: left out: {}", row->name, reason));
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    study.progress = [&](double share) {
      log.progress(fmt::format("{}: {:.0f} %, {}", row->name, 100 * share, duration_text(seconds())));
    };
    study.say = [&](const std::string& line) { log.line(line); };
    Results results;
    row->run(study, results);
    folder.put(std::string(row->name), results);
    log.line(fmt::format("{}: {:.1f} s", row->name, seconds()));
    table.add(std::string(row->name), results.summary);
  }
  table.print();
  fmt::print("{0}/analysis.h5 has all arrays, {0}/summary.json these figures\n", options.out);
}

}  // namespace

void add_analyze_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("analyze", "The paper's analyses of a checkpoint: where spikes and sinks come from");
  auto options = std::make_shared<AnalyzeOptions>();
  add_measured_options(*command, options->measured, std::to_string(kSequences));
  command->add_option("--out", options->out, "folder for analysis.h5, summary.json and log.txt")->required();
  command
      ->add_option(
          "--length", options->length,
          fmt::format("tokens of a sequence that are looked at; default: {}, or the context where that is less",
                      kLength))
      ->check(at_least<2>);
  command
      ->add_option("--context", options->context,
                   fmt::format("tokens of a sequence, of which --length are the first; default: the model's context, "
                               "at most {} or --length",
                               kLongest))
      ->check(at_least<2>);
  command
      ->add_option("--only", options->only,
                   "an analysis of the list below; may be repeated; default: all that are not marked \"only if named\"")
      ->allow_extra_args(false);
  std::string footer =
      "Analyses are added to a folder that has others of the same checkpoint and settings.\n"
      "What each figure means: docs/metrics.md.\n\nAnalyses:\n";
  for (const AnalysisRow& row : analyses())
    footer += fmt::format("  {:<16}{}{}\n", row.name, row.help, row.by_default ? "" : " (only if named)");
  command->footer(footer + "\nExample:\n  spikesink analyze runs/tiny --out runs/tiny/analysis --only trajectory");
  command->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
