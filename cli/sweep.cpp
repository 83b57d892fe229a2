#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cli/commands.h"
#include "cli/sweep.h"
#include "configs/sweep.h"
#include "configs/sweep_writer.h"
#include "io/failure.h"
#include "io/readable.h"
#include "sweeps/collect.h"
#include "sweeps/prepare.h"
#include "sweeps/slurm.h"
#include "sweeps/status_table.h"
#include "sweeps/terminal.h"
#include "trainer/dist/launch.h"
#include "trainer/stop_signals.h"

namespace spikesink::cli {
namespace {

void complain(const std::string& text) { fmt::print(stderr, "spikesink: {}\n", text); }

// ---------------------------------------------------------------------------------------------------------- status

struct StatusOptions {
  std::string sweep;
  std::vector<std::string> overrides;
  std::string seconds;  ///< of --watch; empty where none are given
  bool watch = false, json = false;
};

struct Look {
  std::vector<StatusOfRun> runs;
  std::vector<std::string> problems;  ///< with Slurm, or in a run's files
  bool slurm_is_silent = false;       ///< and may have jobs of ours
};

/// What a user may have overlooked about the folder, or empty.
std::string foreign_to(const Sweep& sweep, const SweepFolder& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder.identity(), error))
    return fmt::format("{}: no sweep has run there yet; dir is relative to the folder that this runs in",
                       std::filesystem::absolute(folder.path()).string());
  const std::vector<std::string> others = runs_of_other_rows(sweep, folder);
  return others.empty() ? ""
                        : fmt::format("{}: has {} of rows that {} does not have, or has under another name: {}",
                                      folder.path(), counted(static_cast<std::int64_t>(others.size()), "run"),
                                      sweep.file, fmt::join(others, ", "));
}

Look look_at(const Sweep& sweep, const SweepFolder& folder) {
  const SlurmView slurm = ask_slurm(folder);
  Look look{.slurm_is_silent = !slurm.queue.known && !slurm.no_squeue};
  if (!slurm.problem.empty()) look.problems.push_back(slurm.problem);
  if (const std::string news = foreign_to(sweep, folder); !news.empty()) look.problems.push_back(news);
  for (const SweepRow& row : sweep.rows) {
    if (!row.refusal.empty()) look.problems.push_back(row.refusal);
    for (const SweepRun& run : row.runs) {
      look.runs.emplace_back(&run, status_of(folder, run, slurm.queue));
      if (const std::string& problem = look.runs.back().second.metrics.problem; !problem.empty())
        look.problems.push_back(problem);
    }
  }
  return look;
}

bool is_at_work(const Look& look) {
  return look.slurm_is_silent || std::ranges::any_of(look.runs, [](const StatusOfRun& run) {
           return run.second.phase == RunPhase::kRunning || run.second.phase == RunPhase::kQueued;
         });
}

/// Until nothing is at work at two looks in a row: one may fall between two runs of a launcher.
void watch(const Sweep& sweep, const SweepFolder& folder, double seconds) {
  const StopSignals signals;
  const bool terminal = shows_on_terminal();
  for (bool was_at_work = true; !StopSignals::requested();) {
    const Look look = look_at(sweep, folder);
    fmt::print("{}{}{}", terminal ? "\033[H\033[J" : "", status_table(look.runs, columns_of_output()),
               terminal ? "" : "\n");
    std::fflush(stdout);
    for (const std::string& problem : look.problems) complain(problem);  // behind what clears the screen
    const bool at_work = is_at_work(look);
    if (!at_work && !was_at_work) {
      fmt::print("{}: nothing is running or in the queue\n", sweep.name);
      return;
    }
    was_at_work = at_work;
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(at_work ? seconds : 1.0);
    while (!StopSignals::requested() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void show_status(const StatusOptions& options) {
  const Sweep sweep = read_sweep(options.sweep, options.overrides);
  const SweepFolder folder(sweep.folder());
  require_own(sweep, folder);
  if (options.watch) return watch(sweep, folder, options.seconds.empty() ? 5 : std::stod(options.seconds));
  const Look look = look_at(sweep, folder);
  for (const std::string& problem : look.problems) complain(problem);
  fmt::print("{}", options.json ? status_json(sweep, look.runs) : status_table(look.runs, columns_of_output()));
}

/// Empty if `text` is a number of seconds, else what is wrong.
std::string seconds_problem(const std::string& text) {
  double value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && rest == text.data() + text.size();
  return whole && value >= 0.1 && value <= 86400 ? "" : text + ", must be a number of seconds, 0.1 to 86400";
}

void add_status_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("status", "Show how each run of a sweep stands");
  auto options = std::make_shared<StatusOptions>();
  command->add_option("SWEEP", options->sweep, "YAML file of the sweep")->required();
  auto* seconds = command
                      ->add_option("--watch", options->seconds,
                                   "show it again every SECONDS (5), while anything is running or queued")
                      ->expected(0, 1)
                      ->type_name("[SECONDS]")
                      ->check(seconds_problem);
  command->add_flag("--json", options->json, "print one JSON object")->excludes(seconds);
  add_overrides(*command, options->overrides);
  command->footer(
      "States: waiting, queued (in Slurm's queue), running, stopped (after a checkpoint; goes on with the next\n"
      "`sweep run`), failed (with the run's last words), finished. A folder of a sweep is judged by its files, so\n"
      "this may be asked on any machine that sees them.\n\n"
      "Examples:\n"
      "  spikesink sweep status configs/sweeps/paper_cpu/table5.yaml\n"
      "  spikesink sweep status configs/sweeps/paper_cpu/table5.yaml --watch 10");
  command->callback([options, seconds] {
    options->watch = seconds->count() > 0;
    show_status(*options);
  });
}

// --------------------------------------------------------------------------------------------------------- collect

struct CollectOptions {
  std::string sweep, format = "markdown";
  std::vector<std::string> overrides;
};

void collect_tables(const CollectOptions& options) {
  const Sweep sweep = read_sweep(options.sweep, options.overrides);
  const SweepFolder folder(sweep.folder());
  require_own(sweep, folder);
  if (std::error_code error; !std::filesystem::exists(folder.identity(), error))
    throw UsageError(
        fmt::format("{}: nothing to collect; `spikesink sweep run {}` starts the runs; dir is relative to the "
                    "folder that it runs in",
                    std::filesystem::absolute(folder.path()).string(), options.sweep));
  const CollectedSweep collected = collect(sweep, folder);
  if (options.format != "markdown")  // which has them
    for (const std::string& note : collected.notes) complain(note);
  write_tables(collected, folder);
  const auto text_of = options.format == "csv"     ? csv_of
                       : options.format == "latex" ? latex_of
                       : options.format == "json"  ? json_of
                                                   : markdown_of;
  fmt::print("{}", text_of(collected));
}

void add_collect_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("collect", "Print a sweep's table, the paper's figures beside its own");
  auto options = std::make_shared<CollectOptions>();
  command->add_option("SWEEP", options->sweep, "YAML file of the sweep")->required();
  command->add_option("--format", options->format, "markdown | csv | latex | json")
      ->check(CLI::IsMember({"markdown", "csv", "latex", "json"}))
      ->capture_default_str();
  add_overrides(*command, options->overrides);
  command->footer(
      "Takes the last probe of every finished run: mean and deviation over the seeds of a row, and whether it lies to\n"
      "the same side of the baseline as in the paper. All four forms are written to tables/ of the sweep's folder.\n"
      "Runs that are not there yet are named below the table, or on stderr.\n\n"
      "Example:\n"
      "  spikesink sweep collect configs/sweeps/paper_cpu/table5.yaml --format latex >table5.tex");
  command->callback([options] { collect_tables(*options); });
}

}  // namespace

void add_overrides(CLI::App& command, std::vector<std::string>& overrides) {
  command
      .add_option("--set", overrides,
                  "key=value over the sweep: a key of a config, for every row, or of the sweep file; may be repeated")
      ->allow_extra_args(false);
}

void add_sweep_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("sweep", "Run many configs, watch them, print their table");
  command->require_subcommand(1);
  command->footer(
      "A sweep file names a base config and its variations: rows, axes and seeds. Each of its runs is a `train` with\n"
      "a folder of its own below dir/name/runs. To begin:\n\n"
      "  spikesink sweep config >my_sweep.yaml       # every key, with its meaning\n"
      "  spikesink sweep run my_sweep.yaml --dry-run\n"
      "  spikesink sweep run my_sweep.yaml           # here; with --launcher slurm on a cluster\n"
      "  spikesink sweep status my_sweep.yaml --watch\n"
      "  spikesink sweep collect my_sweep.yaml\n\n"
      "configs/sweeps/ has those of the paper's tables.");
  add_sweep_run_command(*command);
  add_status_command(*command);
  add_collect_command(*command);
  command->add_subcommand("config", "Print every key of a sweep file, with its default and meaning")->callback([] {
    std::fputs(describe_sweep().c_str(), stdout);
  });
}

}  // namespace spikesink::cli
