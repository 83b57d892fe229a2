#include "sweeps/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "configs/reader.h"
#include "configs/resume.h"
#include "configs/writer.h"
#include "data/position.h"
#include "data/train_data.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "sweeps/hparams.h"
#include "trainer/checkpoint.h"
#include "trainer/resume_point.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {
constexpr int kFormat = 1;

constexpr std::string_view kFree[] = {"run.name:",
                                      "run.dir:",
                                      "train.micro_batch:",
                                      "system.",
                                      "checkpoint.",
                                      "metrics.every_steps:",
                                      "metrics.probe_every_steps:",
                                      "metrics.loggers:",
                                      "metrics.loss_spike_deviations:"};
// What the weights are kept in is seen in them, but for the device that a key has no effect on.
constexpr std::string_view kPrecisions[] = {"system.precision:", "system.state_precision:"};

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::string place_of(const std::string& file) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(file, error);
  return error ? file : path.string();
}

std::string file_in_identity(const SweepFolder& folder) {
  try {
    const auto json = nlohmann::json::parse(read_file(folder.identity()));
    if (const int format = json.at("format"); format != kFormat)
      throw UsageError(fmt::format("{}: format {}, this program reads {}; use the version that wrote it",
                                   folder.identity(), format, kFormat));
    return json.at("file");
  } catch (const nlohmann::json::exception&) {
    throw UsageError(
        fmt::format("{}: damaged; if {} is this sweep's folder, remove the file", folder.identity(), folder.path()));
  }
}

bool has_files(const std::string& folder) {
  std::error_code error;
  return fs::exists(folder, error) && (!fs::is_directory(folder, error) || !fs::is_empty(folder, error));
}

/// Of the data of the checkpoint that the run would go on from: where the newest is damaged, of one before it. Nothing:
/// it has none.
std::optional<Position> position_of(const RunFolder& files) {
  const auto latest = latest_checkpoint(files.checkpoints());
  if (!latest) return std::nullopt;
  auto older = whole_checkpoints(files.checkpoints());
  if (const auto step = RunFolder::step_of(fs::path(*latest).filename().string()))
    older.erase(older.lower_bound(*step), older.end());
  const auto read = [](const std::string& checkpoint) {
    return data_position({.checkpoint = checkpoint, .state = read_state_alone(checkpoint)});
  };
  try {
    return read(*latest);
  } catch (const DamageError&) {
    for (auto before = older.rbegin(); before != older.rend(); ++before) try {
        return read(before->second);
      } catch (const DamageError&) {  // the next, then
      }
    throw;  // of the newest
  }
}

/// Why the data of the run's checkpoint is not that of `config`, or empty.
std::string data_problem(const RunFolder& files, const Config& config) {
  const auto position = position_of(files);
  if (!position) return "";
  const auto then = position->fingerprint.find("data.train");
  if (then == position->fingerprint.end()) return "";
  const std::string now = data_fingerprint(config.data.train, "data.train");
  return then->second == now ? "" : fmt::format("data.train: {} -> {}", then->second, now);
}

/// Why a run must not go on in its folder, or empty.
std::string refusal_of(const SweepFolder& folder, const SweepRun& run, const RunStatus& status) {
  const RunFolder files = folder.run(run.name);
  const bool known = exists(folder.config(run.name));
  if (!known && (exists(files.config()) || exists(files.metrics())))
    return fmt::format("{} was not made by this sweep; remove it, or rename the row", files.path());
  const bool queued = status.phase == RunPhase::kQueued || status.phase == RunPhase::kRunning;
  const std::string file = exists(files.config()) ? files.config() : queued && known ? folder.config(run.name) : "";
  if (file.empty()) return "";
  const Config before = read_config(file);
  std::vector<std::string> changes = changes_of_run(before, run.config);
  if (changes.empty() && before.data.train != run.config.data.train)
    if (std::string problem = data_problem(files, run.config); !problem.empty()) changes.push_back(std::move(problem));
  if (changes.empty()) return "";
  return fmt::format(
      "differs from what it was run with: {}; take this back, rename the row, or remove {} to run it anew",
      fmt::join(changes, ", "), files.path());
}

void make_folders(const SweepFolder& folder) {
  for (const std::string& path :
       {folder.path(), folder.runs(), folder.configs(), folder.path() + "/attempts", folder.path() + "/output"}) {
    std::error_code error;
    if (fs::create_directories(path, error); error)
      throw UsageError(path + ": cannot be made: " + error.message() + "; choose another dir");
  }
}

}  // namespace

void require_own(const Sweep& sweep, const SweepFolder& folder) {
  if (exists(folder.identity())) {
    const std::string other = file_in_identity(folder);
    // A sweep file that was moved takes its folder with it: the one that is named there is gone.
    if (other != place_of(sweep.file) && exists(other))
      throw UsageError(
          fmt::format("{}: belongs to the sweep {}; give {} another name or dir", folder.path(), other, sweep.file));
  } else if (has_files(folder.path()) && !exists(folder.configs())) {
    throw UsageError(fmt::format("{}: has files, but is no sweep's folder (no sweep.json); give {} another name or dir",
                                 folder.path(), sweep.file));
  }
}

std::vector<std::string> changes_of_run(const Config& before, const Config& after) {
  std::vector<std::string> changes = config_difference(before, after);
  std::erase_if(changes, [](std::string_view line) {
    const auto begins_with = [&](std::string_view key) { return line.starts_with(key); };
    if (std::ranges::any_of(kPrecisions, begins_with)) return line.find("absent") != std::string_view::npos;
    return leaves_samples(line) || std::ranges::any_of(kFree, begins_with);
  });
  return changes;
}

std::vector<std::string> runs_of_other_rows(const Sweep& sweep, const SweepFolder& folder) {
  std::vector<std::string> others;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder.configs(), error)) {
    const std::string run = entry.path().stem().string();
    const auto has = [&](const SweepRow& row) { return std::ranges::count(row.runs, run, &SweepRun::name) > 0; };
    if (entry.path().extension() == ".yaml" && std::ranges::none_of(sweep.rows, has)) others.push_back(run);
  }
  std::ranges::sort(others);
  return others;
}

SweepPlan plan_sweep(const Sweep& sweep, const SweepFolder& folder, const Queue& queue, const RunCheck& check) {
  require_own(sweep, folder);
  SweepPlan plan;
  for (const SweepRow& row : sweep.rows) {
    if (!row.refusal.empty()) plan.refused.push_back({.run = "", .reason = row.refusal});
    for (const SweepRun& run : row.runs) {
      try {
        const RunStatus status = status_of(folder, run, queue);
        if (const std::string refusal = refusal_of(folder, run, status); !refusal.empty()) throw UsageError(refusal);
        if (status.phase == RunPhase::kFinished) {
          plan.finished.push_back(&run);
        } else if (status.phase == RunPhase::kRunning || status.phase == RunPhase::kQueued) {
          plan.busy.push_back(&run);
        } else {
          if (std::ranges::count(run.config.metrics.logging.loggers, Logger::kJsonl) == 0)
            throw UsageError("metrics.loggers: without jsonl there is nothing to collect; add it");
          if (check) check(run.config);
          plan.start.push_back(&run);
        }
      } catch (const Failure& failure) {
        plan.refused.push_back({.run = run.name, .reason = failure.what()});
      }
    }
  }
  return plan;
}

void make_sweep_folder(const Sweep& sweep, const SweepFolder& folder) {
  make_folders(folder);
  const nlohmann::ordered_json identity{{"format", kFormat}, {"name", sweep.name}, {"file", place_of(sweep.file)}};
  if (const std::string text = identity.dump(1) + "\n";
      !exists(folder.identity()) || read_file(folder.identity()) != text)
    write_atomically(folder.identity(), text);
}

void write_sweep(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan) {
  make_sweep_folder(sweep, folder);
  for (const SweepRun* run : plan.start) write_atomically(folder.config(run->name), write_config(run->config));
  write_sweep_hparams(sweep, folder);
}

}  // namespace spikesink
