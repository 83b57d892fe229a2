#include "cli/measured.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/imported.h"
#include "cli/options.h"
#include "configs/reader.h"
#include "configs/writer.h"
#include "io/failure.h"
#include "io/json_text.h"

namespace spikesink::cli {
namespace {

Config config_of(const MeasuredOptions& options, const TrainingState& state, const std::string& checkpoint) {
  std::vector<std::string> overrides = options.overrides;
  if (!options.data.empty())  // a JSON list is a YAML list, whatever the names hold
    overrides.push_back("data.validation=" + json_text(nlohmann::json(options.data)));
  if (!options.tokenizer.empty()) overrides.push_back("data.tokenizer=" + json_text(nlohmann::json(options.tokenizer)));
  if (options.sequences > 0) overrides.push_back(fmt::format("metrics.sequences={}", options.sequences));
  Config config = read_config_text(state.config, checkpoint + "/state.json", overrides);
  const auto changes = config_difference(read_config_text(state.config, checkpoint + "/state.json"), config);
  for (const std::string& change : changes)
    if (change.starts_with("model."))
      throw UsageError("--set " + change + ": the checkpoint's model is as it was trained; leave this out");
  complete_imported(config, checkpoint);
  if (!options.data.empty()) config.data.train.clear();  // what is named is measured, trained on or not
  return config;
}

}  // namespace

void add_measured_options(CLI::App& command, MeasuredOptions& options, const std::string& sequences) {
  command.add_option("CHECKPOINT", options.checkpoint, "a step_ folder, or a run's folder for its newest one")
      ->required();
  command.add_option("--data", options.data, "shards to measure on; default: what the run held out");
  command.add_option("--tokenizer", options.tokenizer, "bytes, or a tokenizer's file; default: the checkpoint's");
  command.add_option("--sequences", options.sequences, "sequences to measure on; default: " + sequences)
      ->check(at_least_one);
  command.add_option("--set", options.overrides, "key=value over the checkpoint's config; may be repeated")
      ->allow_extra_args(false);
}

Measured open_measured(const MeasuredOptions& options) {
  Measured out;
  out.checkpoint = find_checkpoint(options.checkpoint);
  out.state = read_state(out.checkpoint);
  out.config = config_of(options, out.state, out.checkpoint);
  out.tokenizer =
      make_tokenizer(out.config.data.tokenizer, options.tokenizer.empty() ? "data.tokenizer" : "--tokenizer");
  require_fits(*out.tokenizer, out.config.model.vocab_size);
  return out;
}

Session load_model(const Measured& m) {
  Session session = make_session(m.config);
  require_weights(m.checkpoint, session.model->params());
  session.model->params().allocate(session.stream, m.config.system.resolved_precision(), /*grads=*/false);
  load_slices(session.stream, m.checkpoint, weight_slices(session.model->params()));
  return session;
}

}  // namespace spikesink::cli
