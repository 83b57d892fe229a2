#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/options.h"
#include "cli/session.h"
#include "cli/sweep.h"
#include "configs/schema.h"
#include "configs/sweep.h"
#include "data/tokenizer.h"
#include "data/train_data.h"
#include "io/failure.h"
#include "io/lock.h"
#include "io/readable.h"
#include "sweeps/local.h"
#include "sweeps/prepare.h"
#include "sweeps/slurm.h"

namespace spikesink::cli {
namespace {

struct RunOptions {
  std::string sweep, launcher = "local";
  std::vector<std::string> overrides, only;
  std::string jobs;
  bool dry_run = false;

  bool slurm() const { return launcher == "slurm"; }
};

/// What `train` would refuse at its start and is cheap to find out, so that it is said before any run starts.
class CheapChecks {
 public:
  CheapChecks(bool runs_here, bool sees_data) : runs_here_(runs_here), sees_data_(sees_data) {}

  void operator()(const Config& config) {
    if (runs_here_) require_kernels(config);
    if (!sees_data_) return;
    auto& tokenizer = tokenizers_[config.data.tokenizer];
    if (!tokenizer) tokenizer = make_tokenizer(config.data.tokenizer);
    require_fits(*tokenizer, config.model.vocab_size);
    begin_token(config.data.begin_of_text, *tokenizer);
    require_once(config.data.train, config.data.tokenizer, "data.train");
    if (!config.data.validation.empty()) require_once(config.data.validation, config.data.tokenizer, "data.validation");
  }

 private:
  void require_once(const std::vector<std::string>& paths, const std::string& tokenizer, const std::string& key) {
    if (found_.contains({paths, tokenizer})) return;
    require_data(paths, *tokenizers_.at(tokenizer), key);
    found_.insert({paths, tokenizer});
  }

  bool runs_here_, sees_data_;
  std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers_;
  std::set<std::pair<std::vector<std::string>, std::string>> found_;
};

Sweep read(const RunOptions& options) {
  if (options.slurm() && !options.jobs.empty())
    throw UsageError("--jobs: has no effect with --launcher slurm; jobs at a time are --set slurm.throttle=" +
                     options.jobs);
  std::vector<std::string> overrides = options.overrides;
  if (!options.jobs.empty()) overrides.push_back("local.jobs=" + options.jobs);
  Sweep sweep = read_sweep(options.sweep, overrides);
  if (options.only.empty()) return sweep;

  const auto asked = [&](const std::string& name) {
    return std::ranges::find(options.only, name) != options.only.end();
  };
  std::vector<std::string> names, runs;
  for (const SweepRow& row : sweep.rows) {
    names.push_back(row.name);
    for (const SweepRun& run : row.runs) runs.push_back(run.name);
  }
  for (const std::string& name : options.only) {
    if (std::ranges::count(names, name) + std::ranges::count(runs, name) > 0) continue;
    const std::string_view near = nearest(name, {names.begin(), names.end()});
    throw UsageError(fmt::format(
        "--only {}: no such row or run in {}; {}", name, options.sweep,
        near.empty() ? fmt::format("it has {}", fmt::join(names, ", ")) : fmt::format("did you mean {}?", near)));
  }
  for (SweepRow& row : sweep.rows)
    if (!asked(row.name)) std::erase_if(row.runs, [&](const SweepRun& run) { return !asked(run.name); });
  std::erase_if(sweep.rows, [&](const SweepRow& row) { return row.runs.empty() && !asked(row.name); });
  return sweep;
}

/// One `sweep run`: what it looks at, and what it then does.
class SweepStart {
 public:
  explicit SweepStart(const RunOptions& options)
      : options_(options),
        sweep_(read(options)),
        folder_(sweep_.folder()),
        // Another program may have other kernels, and what a container sees may not be seen from outside.
        check_(!(options.slurm() && sweep_.slurm.program), !(options.slurm() && sweep_.slurm.container)),
        program_(std::filesystem::read_symlink("/proc/self/exe")) {}

  void dry_run() {
    look();
    if (options_.slurm()) {
      if (!plan_.start.empty()) fmt::print("{}", sbatch_script(sweep_, folder_, plan_, program_));
    } else {
      for (const std::string& line : local_commands(sweep_, folder_, plan_, program_)) fmt::print("{}\n", line);
    }
    for (const SweepRun* run : plan_.finished) fmt::print("# {}: finished\n", run->name);
    for (const SweepRun* run : plan_.busy) fmt::print("# {}: {}\n", run->name, busy_word());
    say_refused();
    require_none_refused();
  }

  void run() {
    look();
    if (plan_.start.empty() && local_and_busy().empty()) {
      say_refused();
      return conclude({});
    }
    make_sweep_folder(sweep_, folder_);
    const FileLock lock(folder_.lock(), "stop it with SIGINT");
    look();  // others may have been at it until now
    wait_for_left_over();
    say_refused();
    if (plan_.start.empty()) return conclude({});
    write_sweep(sweep_, folder_, plan_);
    options_.slurm() ? submit_plan() : run_plan();
  }

 private:
  static std::string busy_word() { return "running or in the queue"; }
  std::size_t num_runs() const {
    return plan_.start.size() + plan_.finished.size() + plan_.busy.size() + plan_.refused.size();
  }

  void look() {
    const SlurmView slurm = ask_slurm(folder_);
    if (!slurm.problem.empty()) {
      // What is queued would run twice. A machine without Slurm may have got the folder from a cluster.
      if (options_.slurm() || !slurm.no_squeue) throw UsageError(slurm.problem);
      fmt::print(stderr, "spikesink: {}\n", slurm.problem);
    }
    plan_ = plan_sweep(sweep_, folder_, slurm.queue, check_);
    queue_ = slurm.queue;
  }

  /// Runs that a local launcher has started.
  std::vector<std::string> local_and_busy() const {
    std::vector<std::string> names;
    for (const SweepRun* run : plan_.busy)
      if (!queue_.jobs.contains(run->name)) names.push_back(run->name);
    return names;
  }

  /// With the lock held whatever still runs is of a launcher that was killed, and has been told to stop.
  void wait_for_left_over() {
    const auto names = local_and_busy();
    if (names.empty()) return;
    fmt::print("waiting for {}, whose launcher is gone, to end\n", fmt::join(names, ", "));
    std::fflush(stdout);
    while (!local_and_busy().empty()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      plan_ = plan_sweep(sweep_, folder_, queue_);
    }
    look();
  }

  /// A line a reason: what many runs are refused for is said once, with the first of them.
  void say_refused() const {
    constexpr std::size_t kNamed = 3;
    std::vector<std::pair<std::string, std::vector<std::string>>> reasons;
    for (const auto& [run, reason] : plan_.refused) {
      auto known = std::ranges::find(reasons, reason, [](const auto& pair) { return pair.first; });
      if (known == reasons.end()) known = reasons.insert(known, {reason, {}});
      if (!run.empty()) known->second.push_back(run);
    }
    std::fflush(stdout);
    for (auto& [reason, runs] : reasons) {
      const std::size_t more = runs.size() - std::min(runs.size(), kNamed);
      runs.resize(runs.size() - more);
      fmt::print(stderr, "spikesink: {}{}{}{}\n", fmt::join(runs, ", "),
                 more > 0 ? fmt::format(" and {} more", more) : "", runs.empty() ? "" : ": ", reason);
    }
  }
  void require_none_refused() const {
    if (plan_.refused.empty()) return;
    throw UsageError(fmt::format("{}: {} of {} refused, see above", sweep_.name, plan_.refused.size(),
                                 counted(static_cast<std::int64_t>(num_runs()), "run")));
  }

  void say_plan(const char* doing) const {
    std::string text =
        fmt::format("{}: {} {}", sweep_.name, doing, counted(static_cast<std::int64_t>(plan_.start.size()), "run"));
    if (!plan_.finished.empty()) text += fmt::format(", {} finished before", plan_.finished.size());
    if (!plan_.busy.empty()) text += fmt::format(", {} {}", plan_.busy.size(), busy_word());
    fmt::print("{}\n", text);
    std::fflush(stdout);
  }

  void run_plan() {
    say_plan("starting");
    conclude(run_locally(sweep_, folder_, plan_, program_));
  }

  void submit_plan() {
    say_plan("submitting");
    const std::string job = submit(sweep_, folder_, plan_, sbatch_script(sweep_, folder_, plan_, program_));
    fmt::print("{}: job {}; see `spikesink sweep status {}`\n", sweep_.name, job, options_.sweep);
    require_none_refused();
  }

  /// Says what all has come to; throws where that is not well.
  void conclude(const LocalOutcome& outcome) const {
    const std::size_t finished = plan_.finished.size() + static_cast<std::size_t>(outcome.finished);
    if (outcome.stopped > 0)
      throw Failure(ExitCode::kPreempted,
                    fmt::format("{}: stopped by a signal, {} of {} finished; run it again to go on", sweep_.name,
                                finished, counted_runs()));
    if (outcome.failed > 0)
      throw Failure(ExitCode::kRunFailed,
                    fmt::format("{}: {} of {} failed{}, see above; run the sweep again to go on with them", sweep_.name,
                                outcome.failed, counted_runs(),
                                plan_.refused.empty() ? "" : fmt::format(" and {} refused", plan_.refused.size())));
    require_none_refused();
    if (plan_.start.empty() && !plan_.busy.empty())
      fmt::print("{}: nothing to start: {} finished, {} {}\n", sweep_.name, finished, plan_.busy.size(), busy_word());
    else if (!plan_.busy.empty())
      fmt::print("{}: {} of {} finished, {} {}\n", sweep_.name, finished, counted_runs(), plan_.busy.size(),
                 busy_word());
    else
      fmt::print("{}: {} of {} finished; see `spikesink sweep collect {}`{}\n", sweep_.name, finished, counted_runs(),
                 options_.sweep, options_.overrides.empty() ? "" : ", with the same --set");
  }
  std::string counted_runs() const { return counted(static_cast<std::int64_t>(num_runs()), "run"); }

  const RunOptions& options_;
  Sweep sweep_;
  SweepFolder folder_;
  CheapChecks check_;
  std::string program_;
  SweepPlan plan_;
  Queue queue_;
};

}  // namespace

void add_sweep_run_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Start or go on with a sweep's runs");
  auto options = std::make_shared<RunOptions>();
  command->add_option("SWEEP", options->sweep, "YAML file; `spikesink sweep config` prints all keys")->required();
  command
      ->add_option("--launcher", options->launcher,
                   "local: on this machine, until all have ended | slurm: as jobs of an array, and return")
      ->check(CLI::IsMember({"local", "slurm"}))
      ->capture_default_str();
  command->add_flag("--dry-run", options->dry_run, "print the commands, or Slurm's script, and write nothing");
  command->add_option("--jobs", options->jobs, "local: runs at a time; local.jobs of the sweep file")
      ->check(at_least<1>);
  command->add_option("--only", options->only, "a row to run, or one of its runs, ROW_seedN; may be repeated")
      ->allow_extra_args(false);
  add_overrides(*command, options->overrides);
  command->footer(
      "Says and does no more than is left to do: finished runs stay, stopped and failed ones go on from their newest\n"
      "checkpoint, others start. A run that cannot be, or whose config is not the one that its folder has, is refused\n"
      "with a line before any starts; the others run. SIGINT, SIGTERM, SIGHUP or SIGUSR1 stops all after a "
      "checkpoint.\n\n"
      "Exit codes: 0 all are done (with slurm: submitted); 75 stopped by a signal; 5 a run failed, the others were "
      "run;\n"
      "2 a run was refused, or the sweep file.\n\n"
      "Examples:\n"
      "  spikesink sweep run configs/sweeps/paper_cpu/table5.yaml --set 'data.train=[data/*.jsonl.zst]' --dry-run\n"
      "  spikesink sweep run configs/sweeps/paper_cpu/table5.yaml --set 'data.train=[data/*.jsonl.zst]' --jobs 2\n"
      "  spikesink sweep run configs/sweeps/paper/table5.yaml --launcher slurm --set slurm.partition=gpu --only "
      "sandwich");
  command->callback([options] {
    SweepStart start(*options);
    options->dry_run ? start.dry_run() : start.run();
  });
}

}  // namespace spikesink::cli
