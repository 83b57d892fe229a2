#include "cli/measured.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/imported.h"
#include "cli/options.h"
#include "configs/reader.h"
#include "configs/writer.h"
#include "data/data_record.h"
#include "data/held_out.h"
#include "data/position.h"
#include "io/failure.h"
#include "io/json_text.h"
#include "io/listing.h"
#include "trainer/run_folder.h"

namespace spikesink::cli {
namespace {

/// Sets the config, and which text it names.
void configure(Measured& m, const MeasuredOptions& options) {
  const std::string file = m.checkpoint + "/state.json";
  std::vector<std::string> overrides = options.overrides;
  if (!options.data.empty())  // a JSON list is a YAML list, whatever the names hold
    overrides.push_back("data.validation=" + json_text(nlohmann::json(options.data)));
  if (!options.tokenizer.empty()) overrides.push_back("data.tokenizer=" + json_text(nlohmann::json(options.tokenizer)));
  if (options.sequences > 0) overrides.push_back(fmt::format("metrics.sequences={}", options.sequences));
  m.config = read_config_text(m.state.config, file, overrides);
  m.held_out = true;
  for (const std::string& change : config_difference(read_config_text(m.state.config, file), m.config)) {
    if (change.starts_with("model."))
      throw UsageError("--set " + change + ": the checkpoint's model is as it was trained; leave this out");
    for (const char* key : {"data.train", "data.validation", "data.holdout", "data.begin_of_text"})
      if (change.starts_with(key)) m.held_out = false;
  }
  complete_imported(m.config, m.checkpoint);
  if (options.data.empty()) return;
  m.config.data.train.clear();  // what is named is measured, trained on or not
  m.text_key = "--data";
  m.held_out = false;
}

std::unique_ptr<Tokenizer> tokenizer_of(const Measured& m, bool is_named) {
  const std::string& spec = m.config.data.tokenizer;
  const std::string key = is_named ? "--tokenizer" : "data.tokenizer";
  std::error_code error;
  const bool names_file = spec.ends_with(".model") || spec.ends_with(".tiktoken");
  if (names_file && !std::filesystem::exists(spec, error) && !error)
    throw DataError(fmt::format("{}: no file {}; name the tokenizer that {} was trained with by --tokenizer FILE", key,
                                spec, m.checkpoint));
  auto tokenizer = make_tokenizer(spec, key);
  if (const auto trained = tokenizer_of_position(m.state.position);
      trained && !names_same_tokenizer(*trained, tokenizer->name()))
    throw DataError(
        fmt::format("{}: {} is {}, but {} was trained with {}, and ids mean other tokens; put that file "
                    "there, or name it by --tokenizer",
                    key, spec, tokenizer->name(), m.checkpoint, *trained));
  if (tokenizer->vocab_size() > m.config.model.vocab_size)
    throw UsageError(
        fmt::format("{}: {} has {} tokens, but the model of {} knows {}; name the tokenizer that it was "
                    "trained with",
                    key, tokenizer->name(), tokenizer->vocab_size(), m.checkpoint, m.config.model.vocab_size));
  return tokenizer;
}

/// What the run held out that the checkpoint lies in, if that is a run and has a record of it: by the checkpoint's
/// path, since `checkpoints` may be a link to another disk, or by what that leads to, since it may be a link itself.
std::optional<DataRecord::HeldOut> held_out_of_run(const std::string& checkpoint) {
  const std::filesystem::path named = std::filesystem::absolute(checkpoint).lexically_normal();
  std::error_code error;
  for (std::filesystem::path path : {named, std::filesystem::canonical(checkpoint, error)}) {
    if (!path.has_filename()) path = path.parent_path();  // a slash at the end
    const RunFolder run(path.parent_path().parent_path().string());
    if (path.parent_path() != run.checkpoints() || !is_there(run.data())) continue;
    if (auto held_out = read_data_record(run.data()).held_out; held_out.asked > 0) return held_out;
  }
  return std::nullopt;
}

/// DataError if the text is not what the run held out. `samples` of `context` tokens were drawn from it.
void require_held_out(const Measured& m, const std::vector<std::int32_t>& samples, std::int64_t context) {
  const auto then = held_out_of_run(m.checkpoint);
  if (!then) return;
  const std::int64_t own = m.config.model.context, asked = std::min(m.config.metrics.probe.sequences, then->asked);
  const auto now = context == own
                       ? DataRecord::HeldOut::of(m.config.data, samples, own, m.config.metrics.probe.sequences)
                       : DataRecord::HeldOut::of(m.config.data,
                                                 held_out_samples(m.config.data, *m.tokenizer, own, asked), own, asked);
  if (const auto other = difference(*then, now))
    throw DataError(
        fmt::format("{}: the text is not what the run held out: {} is {}, but was {}; put that text back, "
                    "or name some with --data",
                    m.checkpoint, other->what, other->now, other->then));
}

}  // namespace

void add_measured_options(CLI::App& command, MeasuredOptions& options, const std::string& sequences) {
  command.add_option("CHECKPOINT", options.checkpoint, "a step_ folder, or a run's folder for its newest one")
      ->required();
  command.add_option("--data", options.data, "shards to measure on; default: what the run held out");
  command.add_option("--tokenizer", options.tokenizer, "bytes, or a tokenizer's file; default: the checkpoint's");
  command.add_option("--sequences", options.sequences, "sequences to measure on; default: " + sequences)
      ->check(at_least<1>);
  command.add_option("--set", options.overrides, "key=value over the checkpoint's config; may be repeated")
      ->allow_extra_args(false);
}

Measured open_measured(const MeasuredOptions& options) {
  Measured out;
  out.checkpoint = find_checkpoint(options.checkpoint);
  out.state = read_state(out.checkpoint);
  configure(out, options);
  out.tokenizer = tokenizer_of(out, !options.tokenizer.empty());
  return out;
}

std::vector<std::int32_t> samples_of(const Measured& m, std::int64_t context) {
  auto samples =
      held_out_samples(m.config.data, *m.tokenizer, context, m.config.metrics.probe.sequences, nullptr, m.text_key);
  if (m.held_out) require_held_out(m, samples, context);
  return samples;
}

Session load_model(const Measured& m) {
  Session session = make_session(m.config);
  require_weights(m.checkpoint, session.model->params());
  session.model->params().allocate(session.stream, m.config.system.resolved_precision(), /*grads=*/false);
  load_slices(session.stream, m.checkpoint, weight_slices(session.model->params()));
  return session;
}

}  // namespace spikesink::cli
