#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "analysis/probe.h"
#include "cli/commands.h"
#include "cli/memory.h"
#include "cli/session.h"
#include "configs/reader.h"
#include "configs/resume.h"
#include "configs/writer.h"
#include "data/held_out.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/lock.h"
#include "trainer/dist/ranks.h"
#include "trainer/run_log.h"
#include "trainer/trainer.h"

namespace spikesink::cli {
namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false;
};

/// The checkpoint to go on from, if there is one and its samples are those of `config`.
std::optional<ResumePoint> find_resume_point(const RunFolder& folder, const Config& config) {
  const auto checkpoint = latest_checkpoint(folder.checkpoints());
  if (!checkpoint) return std::nullopt;
  ResumePoint point{.checkpoint = *checkpoint, .state = read_state(*checkpoint)};
  const Config before = read_config_text(point.state.config, *checkpoint + "/state.json");
  point.changes = config_difference(before, config);
  if (const auto changed = changes_of_past_samples(before, config); !changed.empty())
    throw UsageError(
        fmt::format("{}: --resume would change what was trained on: {}; take this back, or start a new run "
                    "under another run.name",
                    folder.path(), fmt::join(changed, ", ")));
  if (const auto total = config.train.total_steps(config.model.context); total < point.state.step)
    throw UsageError(
        fmt::format("{}: its checkpoint is at step {}, but the config ends at step {}; raise train.steps "
                    "or train.tokens",
                    folder.path(), point.state.step, total));
  return point;
}

/// What the log shall say of the data that was held out.
std::vector<std::string> notes_on(const DocumentCounts& counts) {
  if (counts.num_broken() == 0) return {};
  return {fmt::format("held-out data: {} of {} lines left out: {}", counts.num_broken(), counts.lines(),
                      counts.broken_text())};
}

void run(const TrainOptions& options, Ranks& ranks) {
  const Config config = read_config(options.config, options.overrides);
  ranks.set_timeout(config.system.rank_timeout);
  if (ranks.world() > 1)
    throw UsageError("train: runs as one process in this version; start it without mpirun or srun");
  const Stream stream = make_stream(config.system, ranks);
  const auto communicator = ranks.communicator(stream);
  require_kernels(config);
  const RunFolder folder(config.run.dir + "/" + config.run.name);
  if (!options.resume) folder.require_new();

  const auto tokenizer = make_tokenizer(config.data.tokenizer);
  require_fits(*tokenizer, config.model.vocab_size);
  DocumentCounts held_out_counts;
  const auto held_out =
      held_out_samples(config.data, *tokenizer, config.model.context, config.metrics.probe.sequences, &held_out_counts);
  Loader loader({.data = config.data,
                 .tokenizer = *tokenizer,
                 .context = config.model.context,
                 .sequences = config.train.sequences(config.model.context),
                 .seed = static_cast<std::uint64_t>(config.run.seed)});

  require_memory(config, stream, static_cast<std::int64_t>(held_out.size()) / (config.model.context + 1));

  // All input is good: only now is anything written.
  folder.make();
  const FileLock lock(folder.lock());
  if (!options.resume) folder.require_new();
  folder.remove_unfinished();
  const auto resume = options.resume ? find_resume_point(folder, config) : std::nullopt;

  const Session session =
      noting_failure(folder.log(), [&] { return make_session(config, stream, /*with_gradients=*/true); });
  ModelProbe probe(session.stream, *session.model, held_out, measure_options(config, *tokenizer));
  write_atomically(folder.config(), write_config(config));
  remove_checkpoints_after(folder.checkpoints(), resume ? resume->state.step : -1);
  const TrainResult result = train({.stream = session.stream,
                                    .communicator = *communicator,
                                    .model = *session.model,
                                    .loader = loader,
                                    .probe = probe,
                                    .folder = folder,
                                    .train = config.train,
                                    .state_precision = config.system.state_precision,
                                    .seed = static_cast<std::uint64_t>(config.run.seed),
                                    .checkpoint = config.checkpoint,
                                    .logging = config.metrics.logging,
                                    .end_of_text = document_end(config, *tokenizer),
                                    .config = write_config(config),
                                    .notes = notes_on(held_out_counts),
                                    .resuming = options.resume,
                                    .resume = resume});
  if (!result.finished)
    throw Failure(ExitCode::kPreempted, folder.path() + ": stopped by a signal; go on with --resume");
}

}  // namespace

void add_train_command(CLI::App& app, Ranks& ranks) {
  CLI::App* command = app.add_subcommand("train", "Train a model from a config");
  auto options = std::make_shared<TrainOptions>();
  command->add_option("CONFIG", options->config, "YAML file; `spikesink config` prints all keys")->required();
  command->add_option("--set", options->overrides, "key=value over the config; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--resume", options->resume, "go on from the newest checkpoint of the run's folder");
  command->footer(
      "Writes run.dir/run.name: config.yaml, log.txt, metrics.jsonl, probes/, tensorboard/, checkpoints/.\n"
      "SIGINT, SIGTERM or SIGHUP ends the step, saves a checkpoint and exits with 75.\n\n"
      "Example:\n"
      "  spikesink train configs/cpu/tiny.yaml --set 'data.train=[data/*.jsonl.zst]' --set train.steps=1000\n"
      "  spikesink train configs/cpu/tiny.yaml --set 'data.train=[data/*.jsonl.zst]' --set train.steps=2000 --resume");
  command->callback([options, &ranks] { run(*options, ranks); });
}

}  // namespace spikesink::cli
