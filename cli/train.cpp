#include <fcntl.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <limits>

#include "analysis/probe.h"
#include "cli/commands.h"
#include "cli/follower.h"
#include "cli/memory.h"
#include "cli/options.h"
#include "cli/replay.h"
#include "cli/run_data.h"
#include "cli/session.h"
#include "configs/hyperparameters.h"
#include "configs/reader.h"
#include "configs/resume.h"
#include "configs/writer.h"
#include "data/data_record.h"
#include "data/held_out.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/listing.h"
#include "io/lock.h"
#include "trainer/checkpoint.h"
#include "trainer/dist/agree.h"
#include "trainer/dist/rank_cores.h"
#include "trainer/dist/ranks.h"
#include "trainer/readable.h"
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

/// What has changed of the config since it was `before`; not the samples, or it is refused.
std::vector<std::string> changes_since(const Config& before, const RunFolder& folder, const Config& config,
                                       const char* flag) {
  if (const auto changed = changes_of_past_samples(before, config); !changed.empty())
    throw UsageError(
        fmt::format("{}: {} would change what was trained on: {}; take this back, or start a new run "
                    "under another run.name",
                    folder.path(), flag, fmt::join(changed, ", ")));
  return config_difference(before, config);
}

/// "learning rate of step N: A -> B" where a step that is behind the run would have another by the config as it is now,
/// from which the coming ones go on; else empty.
std::string change_of_rate(const Config& before, const Config& config, std::int64_t step) {
  const auto rate = [&](const Config& c) {
    return fmt::format("{:.4g}",
                       learning_rate(c.train.optimizer, c.train.schedule, step, c.train.total_steps(c.model.context)));
  };
  const std::string was = rate(before), is = rate(config);
  return step > 0 && was != is ? fmt::format("learning rate of step {}: {} -> {}", step, was, is) : "";
}

/// UsageError, the same on all ranks, where one was started with another config than rank 0: they would train different
/// models, and the run's folder would have rank 0's config. All ranks call.
void require_same_config_on_all_ranks(const Config& config, Communicator& ranks) {
  const Config first = read_config_text(text_from_rank_0(ranks, write_config(config)), "rank 0's config");
  std::string problem;
  if (const auto differences = config_difference(first, config); !differences.empty())
    problem = fmt::format("rank {} of {} was started with another config than rank 0: {}; start all with the same",
                          ranks.rank(), ranks.world(), fmt::join(differences, ", "));
  throw_problem<UsageError>(ranks, problem);
}

/// UsageError, the same on all ranks, where one does not see rank 0's folder: it would write its part of each
/// checkpoint elsewhere. All ranks call.
void require_one_folder(const RunFolder& folder, Communicator& ranks) {
  if (ranks.world() == 1) return;
  std::string mark;
  rank_0_does(ranks, [&] {
    mark = unfinished_beside(folder.checkpoints() + "/latest");
    FileDescriptor::open(mark, O_WRONLY | O_CREAT | O_EXCL);
    mark = std::filesystem::path(mark).filename().string();
  });
  const std::string path = folder.checkpoints() + "/" + text_from_rank_0(ranks, mark);
  const std::string problem =
      is_there(path) ? ""
                     : fmt::format(
                           "{}: not the same folder on rank {} of {} as on rank 0; set run.dir to one that all "
                           "ranks see, on a disk that they share",
                           folder.checkpoints(), ranks.rank(), ranks.world());
  ranks.barrier();  // all have looked
  std::error_code error;
  if (ranks.rank() == 0) std::filesystem::remove(path, error);
  throw_problem<UsageError>(ranks, problem);
}

/// Of the run that is in the folder, before it is this config's.
std::int64_t steps_between_checkpoints(const RunFolder& folder, const Config& config) {
  const bool has_own = is_there(folder.config());
  return (has_own ? read_config_text(read_file(folder.config()), folder.config()) : config).checkpoint.every_steps;
}

/// Goes to a checkpoint's place in the data, if that is the data of this run: what else differs is said later.
auto going_to(Loader& loader) {
  return [&loader](const Position& position) {
    try {
      loader.seek(position);
    } catch (const DamagedPosition&) {
      throw;
    } catch (const DataError&) {
    }
  };
}

/// The checkpoint to go on from; nothing: there never was one. All ranks call.
std::optional<ResumePoint> find_resume_point(const RunFolder& folder, const Config& config, Loader& loader,
                                             Communicator& ranks) {
  auto point = newest_resume_point(folder, ranks, std::numeric_limits<std::int64_t>::max(), going_to(loader));
  if (!point) {
    rank_0_does(ranks, [&] { require_never_saved(folder, steps_between_checkpoints(folder, config)); });
    return point;
  }
  const Config before = read_config_text(point->state.config, point->checkpoint + "/state.json");
  point->changes = changes_since(before, folder, config, "--resume");
  if (const std::string jump = change_of_rate(before, config, point->state.step); !jump.empty())
    point->changes.push_back(jump);
  const LoggingConfig& logging = before.metrics.logging;
  if (std::ranges::count(logging.loggers, Logger::kJsonl) > 0) point->logged_every = logging.every_steps;
  if (const auto total = config.train.total_steps(config.model.context); total < point->state.step)
    throw UsageError(
        fmt::format("{}: its checkpoint is at step {}, but the config ends at step {}; raise train.steps "
                    "or train.tokens",
                    folder.path(), point->state.step, total));
  return point;
}

/// The config that a run made a step with, and the file that has it: a checkpoint has that of the steps before it.
std::pair<std::string, std::string> config_of_step(std::int64_t step, const RunFolder& folder) {
  const auto whole = whole_checkpoints(folder.checkpoints());
  for (auto at = whole.lower_bound(step); at != whole.end(); ++at) try {
      return {read_state_alone(at->second).config, at->second + "/state.json"};
    } catch (const DataError&) {  // damaged: a later one will do, if the config did not change between
    }
  return {read_file(folder.config()), folder.config()};
}

UsageError beyond_the_end(std::int64_t step, std::int64_t total, const RunFolder& folder) {
  const Config of_run = read_config_text(read_file(folder.config()), folder.config());
  const auto own = of_run.train.total_steps(of_run.model.context);
  if (step > own)
    return UsageError(fmt::format("--replay {}: the run has {}; name one of them", step, counted(own, "step")));
  return UsageError(
      fmt::format("--replay {}: the config ends at step {}, but the run was trained on to {}; name {} in its place",
                  step, total, own, folder.config()));
}

/// The newest checkpoint before a step that is to be seen again; nothing: it is reached from the start. All ranks call.
std::optional<ResumePoint> checkpoint_before(std::int64_t step, const RunFolder& folder, const Config& config,
                                             Loader& loader, Communicator& ranks) {
  rank_0_does(ranks, [&] {  // steps between two that are logged leave no trace
    if (const auto total = config.train.total_steps(config.model.context); step > total)
      throw beyond_the_end(step, total, folder);
    const auto last = folder.last_step();
    if (step > last + config.metrics.logging.every_steps)
      throw UsageError(fmt::format("--replay {}: the run has come to step {}; --resume trains it further", step, last));
    if (step > last)
      fmt::print("  the last step that the run tells of is {}: it may not have come to {}\n", last, step);
    const auto [text, file] = config_of_step(step, folder);
    for (const std::string& change : changes_since(read_config_text(text, file), folder, config, "--replay"))
      fmt::print("  changed since step {} was made: {}; --set it as it was to see the step as it was\n", step, change);
  });
  auto point = newest_resume_point(folder, ranks, step, going_to(loader));
  if (ranks.rank() == 0) {
    if (point)
      for (const PassedOver& newer : point->passed_over) fmt::print("  passed over: {}\n", newer.problem);
  }
  return point;
}

/// Threads that read ahead. On the CPU training itself takes the cores; beside a GPU they have little else to do.
/// All ranks call.
int data_threads(const Config& config, const Ranks& ranks) {
  const int cores = cores_of_rank(ranks);
  if (config.data.threads > 0) return static_cast<int>(config.data.threads);
  return config.system.resolved_device() == Device::kCuda ? std::clamp(cores - 1, 2, 16) : 2;
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

  const auto tokenizer = make_tokenizer(config.data.tokenizer);
  require_fits(*tokenizer, config.model.vocab_size);
  DocumentCounts held_out_counts;
  const auto held_out =
      held_out_samples(config.data, *tokenizer, config.model.context, config.metrics.probe.sequences, &held_out_counts);
  const std::unique_ptr<Loader> loader = make_loader({.data = config.data,
                                                      .tokenizer = *tokenizer,
                                                      .context = config.model.context,
                                                      .sequences = config.train.sequences(config.model.context),
                                                      .seed = static_cast<std::uint64_t>(config.run.seed),
                                                      .threads = data_threads(config, ranks)});

  const std::int64_t held_out_sequences = static_cast<std::int64_t>(held_out.size()) / (config.model.context + 1);
  RunData data = describe_data(config, *tokenizer, held_out_sequences, held_out_counts);
  const std::int64_t steps = config.train.total_steps(config.model.context);
  if (const std::string doubt = doubt_about(config.train.schedule, steps); !doubt.empty())
    data.notes.push_back("warning: " + doubt);
  require_memory(config, stream, held_out_sequences, ranks);
  const auto share =
      ranks.rank() == 0 ? DataRecord::Share{} : DataRecord::Share{ranks.local_rank(), ranks.local_world()};
  DataRecord record = DataRecord::of(config.data.train, "data.train", loader->position().fingerprint, share);
  record.held_out =
      DataRecord::HeldOut::of(config.data, held_out, config.model.context, config.metrics.probe.sequences);
  require_same_on_all_ranks(record, communicator);

  // All input is good, on all ranks: only now is anything written.
  std::optional<FileLock> lock;
  if (!replays)
    rank_0_does(communicator, [&] {
      folder.make();
      lock.emplace(folder.lock());
      if (!options.resume) folder.require_new();
      folder.remove_unfinished();
    });
  if (!replays) require_one_folder(folder, communicator);
  const auto resume = replays          ? checkpoint_before(options.replay, folder, config, *loader, communicator)
                      : options.resume ? find_resume_point(folder, config, *loader, communicator)
                                       : std::nullopt;
  rank_0_does(communicator, [&] {
    keep_data_record(folder.data(), record,
                     replays  ? DataStart::kReplays
                     : resume ? DataStart::kGoesOn
                              : DataStart::kBegins);
  });

  const Session session = make_session(config, stream);
  ModelProbe probe(session.stream, *session.model, held_out, measure_options(config, *tokenizer));
  const TrainJob job{.stream = session.stream,
                     .communicator = communicator,
                     .model = *session.model,
                     .loader = *loader,
                     .probe = probe,
                     .folder = folder,
                     .train = config.train,
                     .precision = config.system.resolved_precision(),
                     .state_precision = config.system.state_precision,
                     .shards = {.kind = config.system.shard, .reduce = config.system.resolved_reduce()},
                     .seed = static_cast<std::uint64_t>(config.run.seed),
                     .checkpoint = config.checkpoint,
                     .logging = config.metrics.logging,
                     .end_of_text = document_end(config, *tokenizer),
                     .config = write_config(config),
                     .hyperparameters = hyperparameters_of(config),
                     .follower = follower,
                     .data = data.json,
                     .notes = data.notes,
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
      ->check(at_least_one)
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
