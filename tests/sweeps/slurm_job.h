#pragma once
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "../io/scratch.h"
#include "sweeps/command.h"
#include "sweeps/slurm.h"

namespace spikesink {

/// Puts a folder in front of the PATH, or in its place, until the end of the scope.
class Path {
 public:
  explicit Path(const std::string& path) : before_(std::getenv("PATH")) { setenv("PATH", path.c_str(), 1); }
  ~Path() { setenv("PATH", before_.c_str(), 1); }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  const std::string& before() const { return before_; }

 private:
  std::string before_;
};

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline void write_program(const std::string& path, const std::string& body) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  spill(path, "#!/usr/bin/env bash\n" + body);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
}

/// A sweep in a folder of its own, whose script is run by bash as Slurm would, with stand-ins for Slurm's programs and
/// for spikesink. What they were called with is in calls(): a line "NAME <word> <word>" a call.
class SlurmJob {
 public:
  explicit SlurmJob(std::vector<std::string> names = {"a"}, const std::string& inside = "sweep")
      : folder(temp_ / inside), program(temp_ / "spikesink") {
    sweep.file = temp_ / "sweep.yaml";
    sweep.name = "table5";
    sweep.slurm.launcher = SlurmLauncher::kNone;
    sweep.rows.resize(1);
    for (const std::string& name : names) sweep.rows[0].runs.push_back({.name = name, .seed = 1, .config = {}});
    for (const SweepRun& run : sweep.rows[0].runs) plan.start.push_back(&run);
    const std::string record =
        "{ printf '%s' \"${0##*/}\"; printf ' <%s>' \"$@\"; echo; } >>'" + temp_ / "calls" + "'\n";
    // Launchers hand on what stands behind their options.
    const std::string launch = record +
                               "while [[ $1 == -* ]]; do [ \"$1\" != -np ] || shift; shift; done\n"
                               "exec \"$@\"\n";
    write_program(temp_ / "bin/srun", launch);
    write_program(temp_ / "bin/mpirun", launch);
    write_program(temp_ / "bin/scontrol", record + "[ \"$1\" != show ] || cat '" + temp_ / "shown" +
                                              "'\n[ \"$1\" != requeue ] || exit $(cat '" + temp_ / "requeue_code" +
                                              "')\n");
    spill(temp_ / "shown",
          "JobId=48 JobState=RUNNING Reason=None PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime=None\n");
    spill(temp_ / "requeue_code", "0\n");
    record_ = record;
    behave("exit 0");
  }

  /// What spikesink does, as shell: e.g. "exit 3". `$checkpoints` is the folder of the run's checkpoints; `ready` says
  /// that it is under way, and `save N` is a checkpoint of step N.
  void behave(const std::string& what) {
    write_program(program,
                  record_ + "config=$2 name=${2##*/}\ncheckpoints='" + folder.runs() + "/'${name%.yaml}/checkpoints\n" +
                      "save() { mkdir -p \"$checkpoints\"; ln -sfn step_$1 \"$checkpoints/latest\"; }\nready() { : >'" +
                      temp_ / "ready" + "'; }\n" + what + "\n");
  }
  void behave_until_told(const std::string& then) {  // the handler runs when sleep is over, in bash
    behave("trap told=1 USR1\nready\nuntil [ -n \"$told\" ]; do sleep 0.02; done\n" + then);
  }
  void slurm_shows(const std::string& text) { spill(temp_ / "shown", text + "\n"); }
  void refuse_requeue() { spill(temp_ / "requeue_code", "1\n"); }

  std::string script() const { return sbatch_script(sweep, folder, plan, program); }
  /// Runs the script as task `i`; sends it `signal` (USR1, TERM) when the program is under way. The exit code.
  int run(int i = 0, const std::string& signal = "") {
    std::filesystem::remove(temp_ / "ready");
    std::filesystem::remove(temp_ / "calls");
    spill(temp_ / "script", script());
    std::string line =
        fmt::format("export SLURM_ARRAY_JOB_ID=47 SLURM_ARRAY_TASK_ID={} SLURM_JOB_ID=48; bash {} & job=$!; ", i,
                    shell_word(temp_ / "script"));
    if (!signal.empty())
      line += fmt::format("until [ -e {} ]; do sleep 0.02; done; kill -{} $job; ", shell_word(temp_ / "ready"), signal);
    const Path path(temp_ / "bin:" + std::getenv("PATH"));
    const CommandResult result = run_command({"bash", "-c", line + "exec 2>/dev/null; wait $job"});
    CHECK(result.out + result.err == "");  // all of it goes to the run's output
    return result.code;
  }
  std::string calls() const { return std::filesystem::exists(temp_ / "calls") ? slurp(temp_ / "calls") : ""; }
  std::string output(int i = 0) const { return slurp(folder.output(plan.start[i]->name)); }
  std::string attempts(int i = 0) const { return slurp(folder.attempts(plan.start[i]->name)); }
  const TempFolder& temp() const { return temp_; }

 private:
  TempFolder temp_;
  std::string record_;

 public:
  Sweep sweep;
  SweepPlan plan;
  SweepFolder folder;
  std::string program;
};

}  // namespace spikesink
