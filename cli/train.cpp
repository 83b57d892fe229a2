#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analysis/probe.h"
#include "cli/commands.h"
#include "cli/follower.h"
#include "cli/memory.h"
#include "cli/one_run.h"
#include "cli/options.h"
#include "cli/replay.h"
#include "cli/run_data.h"
#include "cli/session.h"
#include "cli/starting_point.h"
#include "configs/hyperparameters.h"
#include "configs/reader.h"
#include "configs/writer.h"
#include "data/data_record.h"
#include "data/held_out.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "io/failure.h"
#include "io/lock.h"
#include "trainer/dist/agree.h"
#include "trainer/dist/rank_cores.h"
#include "trainer/dist/ranks.h"
#include "trainer/schedule.h"
#include "trainer/trainer.h"

namespace spikesink::cli {
namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false;
  std::int64_t replay = 0;  ///< step; 0: none
};

/// Threads that read ahead. On the CPU training itself takes the cores; beside a GPU they have little else to do.
/// All ranks call.
int data_threads(const Config& config, const Ranks& ranks) {
  const int cores = cores_of_rank(ranks);
  if (config.data.threads > 0) return static_cast<int>(config.data.threads);
  return config.system.resolved_device() == Device::kCuda ? std::clamp(cores - 1, 2, 16) : 2;
}

/// What a run reads.
struct Input {
  std::unique_ptr<const Tokenizer> tokenizer;
  std::vector<std::int32_t> held_out;  ///< (sequences, T + 1) of the probe
  std::int64_t held_out_sequences = 0;
  std::unique_ptr<Loader> loader;
  RunData data;  ///< what is said of it
};

/// DataError, UsageError where something of it is not there or does not fit the model. All ranks call.
Input open_input(const Config& config, const Ranks& ranks) {
  const std::int64_t context = config.model.context;
  Input in;
  in.tokenizer = make_tokenizer(config.data.tokenizer);
  require_fits(*in.tokenizer, config.model.vocab_size);
  DocumentCounts counts;
  in.held_out = held_out_samples(config.data, *in.tokenizer, context, config.metrics.probe.sequences, &counts);
  in.held_out_sequences = std::ssize(in.held_out) / (context + 1);
  in.loader = make_loader({.data = config.data,
                           .tokenizer = *in.tokenizer,
                           .context = context,
                           .sequences = config.train.sequences(context),
                           .seed = static_cast<std::uint64_t>(config.run.seed),
                           .threads = data_threads(config, ranks)});
  in.data = describe_data(config, *in.tokenizer, in.held_out_sequences, counts);
  if (const auto doubt = doubt_about(config.train.schedule, config.train.total_steps(context)); !doubt.empty())
    in.data.notes.push_back("warning: " + doubt);
  return in;
}

/// What the run's folder keeps of its data; a rank reads its node's share of it.
DataRecord record_of(const Config& config, const Input& input, const Ranks& ranks) {
  const auto share =
      ranks.rank() == 0 ? DataRecord::Share{} : DataRecord::Share{ranks.local_rank(), ranks.local_world()};
  DataRecord record = DataRecord::of(config.data.train, "data.train", input.loader->position().fingerprint, share);
  record.held_out =
      DataRecord::HeldOut::of(config.data, input.held_out, config.model.context, config.metrics.probe.sequences);
  return record;
}

/// Makes the folder this run's alone.
std::unique_ptr<FileLock> claim(const RunFolder& folder, bool resumes) {
  folder.make();
  auto lock = std::make_unique<FileLock>(folder.lock());
  if (!resumes) folder.require_new();
  folder.remove_unfinished();
  return lock;
}

void run(const TrainOptions& options, Ranks& ranks) {
  const Config config = read_config(options.config, options.overrides);
  ranks.set_timeout(config.system.rank_timeout);
  const Stream stream = make_stream(config.system, ranks);
  const auto of_ranks = ranks.communicator(stream);
  Communicator& communicator = *of_ranks;
  require_same_config_on_all_ranks(config, communicator);
  require_kernels(config);
  const RunFolder folder(config.run.dir + "/" + config.run.name);
  const bool replays = options.replay > 0;
  if (replays) require_run(folder);
  if (!replays)
    rank_0_does(communicator, [&] { options.resume ? folder.require_no_checkpoint() : folder.require_new(); });

  std::vector<std::string> follower;
  if (!replays && std::ranges::count(config.metrics.logging.loggers, Logger::kWandb) > 0)
    rank_0_does(communicator, [&] { follower = wandb_command(folder); });

  const Input input = open_input(config, ranks);
  require_memory(config, stream, input.held_out_sequences, ranks);
  const DataRecord record = record_of(config, input, ranks);
  require_same_on_all_ranks(record, communicator);

  // All input is good, on all ranks: only now is anything written.
  std::unique_ptr<FileLock> lock;
  if (!replays) {
    rank_0_does(communicator, [&] { lock = claim(folder, options.resume); });
    require_one_folder(folder, communicator);
  }
  const auto resume = replays          ? checkpoint_before(options.replay, folder, config, *input.loader, communicator)
                      : options.resume ? find_resume_point(folder, config, *input.loader, communicator)
                                       : std::nullopt;
  rank_0_does(communicator, [&] {
    keep_data_record(folder.data(), record,
                     replays  ? DataStart::kReplays
                     : resume ? DataStart::kGoesOn
                              : DataStart::kBegins);
  });

  const Session session = make_session(config, stream);
  ModelProbe probe(session.stream, *session.model, input.held_out, measure_options(config, *input.tokenizer));
  const TrainJob job{.stream = session.stream,
                     .communicator = communicator,
                     .model = *session.model,
                     .loader = *input.loader,
                     .probe = probe,
                     .folder = folder,
                     .train = config.train,
                     .precision = config.system.resolved_precision(),
                     .state_precision = config.system.state_precision,
                     .shards = {.kind = config.system.shard, .reduce = config.system.resolved_reduce()},
                     .seed = static_cast<std::uint64_t>(config.run.seed),
                     .checkpoint = config.checkpoint,
                     .logging = config.metrics.logging,
                     .end_of_text = document_end(config, *input.tokenizer),
                     .config = write_config(config),
                     .hyperparameters = hyperparameters_of(config),
                     .follower = follower,
                     .data = input.data.json,
                     .notes = input.data.notes,
                     .resuming = options.resume,
                     .resume = resume};
  if (replays) return print_replay(job, options.replay);
  const TrainResult result = train(job);
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
  command
      ->add_option("--replay", options->replay,
                   "run this step again, from the checkpoint before it, and show all of it")
      ->check(at_least<1>)
      ->excludes("--resume");
  command->footer(
      "Writes run.dir/run.name: config.yaml, log.txt, metrics.jsonl, probes/, tensorboard/, checkpoints/.\n"
      "SIGINT, SIGTERM, SIGHUP or SIGUSR1, to any rank, ends the step or the probe that is under way, saves a\n"
      "checkpoint and exits with 75; before the first probe it exits with 75 at once. A second SIGINT does not wait.\n"
      "Under mpirun send SIGUSR1, which it passes on: after SIGTERM it gives its ranks a second.\n\n"
      "Example:\n"
      "  spikesink train configs/cpu/tiny.yaml --set 'data.train=[data/*.jsonl.zst]' --set train.steps=1000\n"
      "  spikesink train configs/cpu/tiny.yaml --set 'data.train=[data/*.jsonl.zst]' --set train.steps=2000 --resume");
  command->callback([options, &ranks] { run(*options, ranks); });
}

}  // namespace spikesink::cli
