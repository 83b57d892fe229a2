#include "sweeps/run_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "configs/reader.h"
#include "io/failure.h"
#include "io/host_name.h"
#include "sweeps/attempts.h"
#include "sweeps/output.h"
#include "trainer/checkpoint.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

// A run that is told to stop before it listens ends by the signal itself; what it had is still there.
constexpr std::array kStoppedEarly = {128 + SIGUSR1, 128 + SIGTERM};
// The processes of another machine are not seen from here: one that writes nothing for so long is held to be gone.
constexpr std::chrono::minutes kSilence{5};
constexpr std::array<std::string_view, 7> kRunningStates = {"RUNNING",   "COMPLETING", "SUSPENDED", "STOPPED",
                                                            "SIGNALING", "STAGE_OUT",  "RESIZING"};

Config config_of(const SweepFolder& folder, const SweepRun& run) {
  std::error_code error;
  if (fs::exists(folder.config(run.name), error)) {
    try {
      return read_config(folder.config(run.name));
    } catch (const Failure&) {  // damaged: that of the sweep file then
    }
  }
  return run.config;
}

/// Is it the process that was started with this config, and not a later one of its number?
bool is_alive(std::int64_t process, const std::string& config) {
  const std::string folder = fmt::format("/proc/{}/", process);
  std::string line;
  std::error_code gone;
  // The system writes the words of a new program last; one that has ended, and is not waited for, has no program.
  for (int tries = 0; tries < 1000 && line.empty(); ++tries) {
    if (tries > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::ifstream in(folder + "cmdline", std::ios::binary);
    line.assign(std::istreambuf_iterator<char>(in), {});
    if (line.empty() && fs::read_symlink(folder + "exe", gone).empty()) return false;
  }
  return line.find('\0' + config + '\0') != std::string::npos;
}

bool is_heard_of(const SweepFolder& folder, const std::string& run) {
  const RunFolder files = folder.run(run);
  const auto now = fs::file_time_type::clock::now();
  return std::ranges::any_of(std::array{folder.output(run), files.metrics(), files.log(), folder.attempts(run)},
                             [&](const std::string& file) {
                               std::error_code error;
                               const auto written = fs::last_write_time(file, error);
                               return !error && now - written < kSilence;
                             });
}

/// Of a run all of whose steps were to be behind it: what is not there, or empty.
std::string missing_at_end(const RunFolder& files, const RunStatus& status) {
  try {
    const auto checkpoint = latest_checkpoint(files.checkpoints());
    const auto step =
        checkpoint ? RunFolder::step_of(fs::canonical(*checkpoint).filename().string()) : std::optional<std::int64_t>();
    if (step != status.total_steps)
      return fmt::format("{} has no checkpoint of step {}; run the sweep again, or remove {} to run it anew",
                         files.checkpoints(), status.total_steps, files.path());
  } catch (const std::exception& error) {  // a link that leads nowhere
    return error.what();
  }
  const auto probe = status.metrics.probe.find("step");
  if (probe == status.metrics.probe.end() || probe->second != static_cast<double>(status.total_steps))
    return fmt::format("{} has no probe of step {}; remove {} to run it anew", files.metrics(), status.total_steps,
                       files.path());
  return "";
}

std::string reason_of(const SweepFolder& folder, const std::string& run, int code) {
  const OutputEnd end = end_of_output(folder.output(run));
  if (!end.error.empty()) return end.error;
  if (code > 128) return fmt::format("ended by signal {} ({})", code - 128, strsignal(code - 128));
  return end.last_line.empty() ? fmt::format("exit code {}", code) : end.last_line;
}

/// Of an attempt without an end.
bool goes_on(const SweepFolder& folder, const std::string& run, const Attempt& last, bool queue_known) {
  if (!last.job.empty()) return !queue_known && is_heard_of(folder, run);  // else the queue would have it
  return last.host == host_name() ? is_alive(last.process, folder.config(run)) : is_heard_of(folder, run);
}

/// Of a run that is not finished and not in the queue, as far as that is known.
void judge(const SweepFolder& folder, const std::string& run, const Attempt& last, const std::string& missing,
           bool queue_known, RunStatus& status) {
  std::error_code error;
  if (!last.code) {
    if (goes_on(folder, run, last, queue_known)) {
      status.phase = RunPhase::kRunning;
      if (last.host != host_name()) status.reason = "on " + last.host;
    } else {
      status.phase = RunPhase::kFailed;
      status.reason = "killed: no exit code was noted";
      // E.g. a time limit that came before the checkpoint was written, or memory that was not enough.
      if (const OutputEnd slurm = end_of_output(folder.slurm_output(last.job));
          !last.job.empty() && !slurm.last_line.empty())
        status.reason += "; Slurm said last: " + slurm.last_line;
    }
  } else if (*last.code == static_cast<int>(ExitCode::kPreempted) ||
             std::ranges::count(kStoppedEarly, *last.code) > 0) {
    status.phase = RunPhase::kStopped;
  } else if (*last.code != 0) {
    status.phase = RunPhase::kFailed;
    status.reason = reason_of(folder, run, *last.code);
  } else if (fs::exists(folder.run(run).path(), error)) {  // else it was removed, to be run anew
    status.phase = RunPhase::kFailed;
    status.reason = missing;
  }
}

}  // namespace

std::string_view name_of(RunPhase phase) {
  constexpr std::array<std::string_view, 6> kNames = {"waiting", "queued", "running", "stopped", "failed", "finished"};
  return kNames.at(static_cast<std::size_t>(phase));
}

RunStatus status_of(const SweepFolder& folder, const SweepRun& run, const Queue& queue) {
  const Config config = config_of(folder, run);
  const std::vector<Attempt> attempts = read_attempts(folder.attempts(run.name));
  RunStatus status{.total_steps = config.train.total_steps(config.model.context),
                   .metrics = read_run_metrics(folder.run(run.name).metrics())};
  for (const Figures* figures : {&status.metrics.step, &status.metrics.probe})
    if (const auto step = figures->find("step"); step != figures->end())
      status.step = std::max(status.step, static_cast<std::int64_t>(step->second));
  if (!attempts.empty()) status.job = attempts.back().job;

  const std::string missing = missing_at_end(folder.run(run.name), status);
  if (missing.empty()) {
    status.phase = RunPhase::kFinished;
    status.step = status.total_steps;
    return status;
  }
  if (const auto queued = queue.jobs.find(run.name); queued != queue.jobs.end()) {
    const QueuedJob& job = queued->second;
    status.job = job.job;
    status.phase = std::ranges::count(kRunningStates, job.state) > 0 ? RunPhase::kRunning : RunPhase::kQueued;
    if (status.phase == RunPhase::kQueued) status.reason = job.reason;
  } else if (!attempts.empty()) {
    judge(folder, run.name, attempts.back(), missing, queue.known, status);
  }
  if (status.phase == RunPhase::kRunning && status.metrics.tokens_per_second > 0) {
    const std::int64_t tokens = config.train.sequences(config.model.context) * config.model.context;
    status.seconds_left =
        static_cast<double>((status.total_steps - status.step) * tokens) / status.metrics.tokens_per_second;
  }
  return status;
}

}  // namespace spikesink
