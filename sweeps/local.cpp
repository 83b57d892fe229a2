#include "sweeps/local.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <thread>

#include "io/clock.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/host_name.h"
#include "io/readable.h"
#include "kernels/core/gpu.h"
#include "sweeps/attempts.h"
#include "sweeps/child.h"
#include "sweeps/command.h"
#include "sweeps/output.h"
#include "sweeps/terminal.h"
#include "trainer/run_log.h"
#include "trainer/stop_signals.h"

namespace spikesink {
namespace {
using Clock = std::chrono::steady_clock;
constexpr auto kPoll = std::chrono::milliseconds(50);  // of the processes
constexpr auto kLook = std::chrono::seconds(2);        // at their metrics, for the progress line
constexpr auto kSay = std::chrono::minutes(1);         // between lines where progress is no line of its own

std::string time_text() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", std::localtime(&now));
  return text;
}

std::int64_t cores_here() {
  cpu_set_t cores;
  return sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
}

std::vector<std::string> gpus_here() {
  std::vector<std::string> gpus;
  if constexpr (kHasCuda) {
    const int count = gpu::num_devices();
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    for (std::string_view rest = visible ? visible : ""; !rest.empty();) {
      const std::size_t length = std::min(rest.find(','), rest.size());
      gpus.emplace_back(rest.substr(0, length));
      rest.remove_prefix(std::min(length + 1, rest.size()));
    }
    gpus.resize(std::min(gpus.size(), static_cast<std::size_t>(count)));
    for (int i = 0; !visible && i < count; ++i) gpus.push_back(std::to_string(i));
  }
  return gpus;
}

/// Gives each run its part of the machine. It depends on how many jobs there may be, not on how many are left, so that
/// a run that goes on has the threads that it had.
class Starter {
 public:
  Starter(const LocalConfig& local, const SweepFolder& folder, std::string program)
      : local_(local), folder_(folder), program_(std::move(program)), gpus_(gpus_of(local)) {}

  std::vector<std::string> environment(const SweepRun& run, std::size_t place) const {
    std::vector<std::string> variables;
    if (local_.jobs > 1 && !std::getenv("OMP_NUM_THREADS"))
      variables.push_back(
          fmt::format("OMP_NUM_THREADS={}", std::max<std::int64_t>(1, cores_here() / (local_.jobs * local_.ranks))));
    if (!gpus_.empty() && run.config.system.resolved_device() == Device::kCuda)
      variables.push_back("CUDA_VISIBLE_DEVICES=" + share_of_gpus(gpus_, static_cast<std::size_t>(local_.jobs), place));
    return variables;
  }
  std::vector<std::string> command(const SweepRun& run) const {
    std::vector<std::string> words;
    if (local_.ranks > 1) words = {"mpirun", "-np", std::to_string(local_.ranks), "--bind-to", "none"};
    words.insert(words.end(), {program_, "train", folder_.config(run.name), "--resume"});
    return words;
  }

 private:
  static std::vector<std::string> gpus_of(const LocalConfig& local) {
    return local.jobs > 1 ? gpus_here() : std::vector<std::string>();
  }

  LocalConfig local_;
  SweepFolder folder_;
  std::string program_;
  std::vector<std::string> gpus_;
};

std::string figures_text(const Figures& probe) {
  std::string text;
  const auto add = [&](const char* name, const char* format, double factor) {
    if (const auto figure = probe.find(name); figure != probe.end())
      text += (text.empty() ? "" : ", ") + fmt::format(fmt::runtime(format), factor * figure->second);
  };
  add("perplexity", "perplexity {:.4g}", 1);
  add("sink_ratio", "sink ratio {:.1f} %", 100);
  add("spike_max", "spike {:.4g}", 1);
  return text;
}

class Launcher {
 public:
  Launcher(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan, const std::string& program)
      : folder_(folder),
        plan_(plan),
        starter_(sweep.local, folder, program),
        log_(folder.log()),
        places_(static_cast<std::size_t>(sweep.local.jobs)) {}
  ~Launcher() { stop_all(); }  // each Child then waits
  Launcher(Launcher&&) = delete;

  LocalOutcome run() {
    const StopSignals signals;
    for (;; std::this_thread::sleep_for(kPoll)) {
      if (StopSignals::requested() && !stopping_) pass_on_stop();
      for (std::size_t place = 0; place < places_.size() && !stopping_ && next_ < plan_.start.size(); ++place)
        if (!places_[place]) start(*plan_.start[next_++], place);
      for (auto& going : places_)
        if (going) reap(going);
      if (num_going() == 0 && (stopping_ || next_ == plan_.start.size())) break;
      show_progress();
    }
    log_.close_progress();
    outcome_.stopped += static_cast<int>(plan_.start.size() - next_);
    return outcome_;
  }

 private:
  struct Going {
    const SweepRun* run;
    Child child;
    Clock::time_point began = Clock::now();
  };

  std::size_t num_going() const {
    return static_cast<std::size_t>(std::ranges::count_if(places_, [](auto& going) { return going.has_value(); }));
  }

  void stop_all() const {
    for (const auto& going : places_)
      if (going) going->child.stop();
  }

  void pass_on_stop() {
    stopping_ = true;
    if (const std::size_t count = num_going(); count > 0)
      log_.line(fmt::format("stopping: {} to save a checkpoint", counted(static_cast<std::int64_t>(count), "run")));
    stop_all();
  }

  void say_in_output(const SweepRun& run, const std::string& text) const {
    FileDescriptor::open(folder_.output(run.name), O_WRONLY | O_APPEND | O_CREAT).append(text + "\n");
  }

  void start(const SweepRun& run, std::size_t place) {
    const bool goes_on = !read_attempts(folder_.attempts(run.name)).empty();
    Attempt attempt{.began = unix_time(), .host = host_name()};
    say_in_output(run, fmt::format("{}{} on {}", kAttemptMark, time_text(), attempt.host));
    std::optional<Child> child;
    std::string problem;
    try {
      child.emplace(starter_.command(run), starter_.environment(run, place), folder_.output(run.name));
      attempt.process = child->id();
    } catch (const UsageError& error) {
      problem = error.what();
      say_in_output(run, "spikesink: " + problem);
    }
    note_start(folder_.attempts(run.name), attempt);
    log_.line(fmt::format("{}: {} ({} of {})", run.name, goes_on ? "goes on" : "started", next_, plan_.start.size()));
    if (child)
      places_[place].emplace(Going{&run, std::move(*child)});
    else
      note_end_of(run, kCannotStart, 0);
  }

  void reap(std::optional<Going>& going) {
    const std::optional<int> code = going->child.ended();
    if (!code) return;
    const std::chrono::duration<double> took = Clock::now() - going->began;
    const SweepRun& run = *going->run;
    going.reset();
    note_end_of(run, *code, took.count());
  }

  void note_end_of(const SweepRun& run, int code, double seconds) {
    note_end(folder_.attempts(run.name), unix_time(), code);
    const RunStatus status = status_of(folder_, run, {});
    if (status.phase == RunPhase::kFinished) {
      ++outcome_.finished;
      log_.line(
          fmt::format("{}: finished: {} ({})", run.name, figures_text(status.metrics.probe), duration_text(seconds)));
    } else if (status.phase == RunPhase::kStopped) {
      ++outcome_.stopped;
      log_.line(fmt::format("{}: stopped at step {} of {}", run.name, status.step, status.total_steps));
    } else {
      ++outcome_.failed;
      log_.line(fmt::format("{}: failed: {}; see {}", run.name, status.reason, folder_.output(run.name)));
    }
  }

  void show_progress() {
    const auto now = Clock::now();
    const bool say = now - said_ >= kSay;
    if (now - looked_ < kLook && !say) return;
    looked_ = now;
    const std::string text = progress_text();
    if (!say) return log_.progress(text);
    said_ = now;
    log_.step(text);
  }

  /// "pre_norm 500/2000, sandwich 20/2000; 1 of 6 done, about 5 min 00 s left", or where that is too long for a line
  /// "2 running; 1 of 6 done, ..."
  std::string progress_text() const {
    std::string running, rest;
    double rate = 0, left = 0;  // tokens
    bool known = true;
    for (const auto& going : places_) {
      if (!going) continue;
      const RunStatus status = status_of(folder_, *going->run, {});
      running +=
          fmt::format("{}{} {}/{}", running.empty() ? "" : ", ", going->run->name, status.step, status.total_steps);
      rate += status.metrics.tokens_per_second;
      left += tokens_of(*going->run, status.step);
      known = known && status.metrics.tokens_per_second > 0;
    }
    for (std::size_t i = next_; i < plan_.start.size(); ++i) left += tokens_of(*plan_.start[i], 0);
    rest = fmt::format("; {} of {} done", outcome_.finished, plan_.start.size());
    if (outcome_.failed > 0) rest += fmt::format(", {} failed", outcome_.failed);
    if (known && rate > 0) rest += fmt::format(", about {} left", duration_text(left / rate));
    return (running.size() + rest.size() < columns_of_output() ? running : fmt::format("{} running", num_going())) +
           rest;
  }

  /// Tokens after `step`.
  static double tokens_of(const SweepRun& run, std::int64_t step) {
    const auto& [train, context] = std::pair(run.config.train, run.config.model.context);
    return static_cast<double>((train.total_steps(context) - step) * train.sequences(context) * context);
  }

  static constexpr int kCannotStart = 127;  // as a shell has it

  const SweepFolder& folder_;
  const SweepPlan& plan_;
  Starter starter_;
  RunLog log_;
  std::vector<std::optional<Going>> places_;
  std::size_t next_ = 0;  // of plan_.start
  bool stopping_ = false;
  LocalOutcome outcome_;
  Clock::time_point looked_ = Clock::now(), said_ = Clock::now();
};

}  // namespace

std::string share_of_gpus(const std::vector<std::string>& gpus, std::size_t jobs, std::size_t place) {
  const std::size_t first = place % jobs * gpus.size() / jobs, end = (place % jobs + 1) * gpus.size() / jobs;
  if (gpus.size() < jobs) return gpus[place % gpus.size()];
  return fmt::format("{}", fmt::join(gpus.begin() + static_cast<std::ptrdiff_t>(first),
                                     gpus.begin() + static_cast<std::ptrdiff_t>(end), ","));
}

std::vector<std::string> local_commands(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan,
                                        const std::string& program) {
  const Starter starter(sweep.local, folder, program);
  std::vector<std::string> lines;
  for (const SweepRun* run : plan.start) {
    std::string line;
    for (const std::string& variable : starter.environment(*run, lines.size())) {
      const std::size_t value = variable.find('=') + 1;
      line += variable.substr(0, value) + shell_word(variable.substr(value)) + " ";
    }
    for (const std::string& word : starter.command(*run)) line += shell_word(word) + " ";
    lines.push_back(line + ">>" + shell_word(folder.output(run->name)) + " 2>&1");
  }
  return lines;
}

LocalOutcome run_locally(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan,
                         const std::string& program) {
  return Launcher(sweep, folder, plan, program).run();
}

}  // namespace spikesink
