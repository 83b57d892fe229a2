#include "sweeps/run_status.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <string>

#include "configs/reader.h"
#include "configs/writer.h"
#include "io/host_name.h"
#include "io/json_lines.h"
#include "support.h"
#include "sweeps/attempts.h"
#include "sweeps/child.h"
#include "sweeps/output.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

const std::string kRow =
    "model: {context: 10}\ndata: {train: [a.jsonl]}\ntrain: {steps: 100, batch_tokens: 25, micro_batch: 1}\n"
    "checkpoint: {every_steps: 50}\n";
constexpr double kNow = 1764293422;

/// A sweep's folder with one run, `a`, made by hand.
class OneRun : public test::ScratchSweep {
 public:
  OneRun() : run{.name = "a", .config = read_config_text(kRow, "a.yaml")} {
    write(folder().config("a"), write_config(run.config));
    fs::create_directories(fs::path(folder().attempts("a")).parent_path());
  }
  void attempt(std::optional<int> code, const std::string& job = "", std::int64_t process = 0,
               const std::string& host = host_name()) const {
    note_start(folder().attempts("a"),
               {.began = kNow, .host = host, .job = job, .process = process, .ended = {}, .code = {}});
    if (code) note_end(folder().attempts("a"), kNow + 60, *code);
  }
  void checkpoint(int step) const {
    const std::string name = RunFolder::step_name(step), checkpoints = folder().run("a").checkpoints();
    write(checkpoints + "/" + name + "/state.json", "{}");
    fs::remove(checkpoints + "/latest");
    fs::create_directory_symlink(name, checkpoints + "/latest");
  }
  void output(const std::string& text) const { write(folder().output("a"), text); }
  RunStatus status(const Queue& queue = {}) const { return status_of(folder(), run, queue); }

  SweepRun run;
};

const std::string kSteps =
    "{\"step\": 0, \"event\": \"probe\", \"perplexity\": 250.0}\n"
    "{\"step\": 10, \"tokens\": 200, \"loss\": 4.5, \"tokens_per_second\": 100.0}\n"
    "{\"step\": 20, \"tokens\": 400, \"loss\": 3.5, \"tokens_per_second\": 40.0}\n"
    "{\"step\": 30, \"tokens\": 600, \"loss\": 2.5, \"tokens_per_second\": 20.0}\n";
const std::string kEnd =
    "{\"step\": 100, \"tokens\": 2000, \"loss\": 1.5, \"tokens_per_second\": 20.0}\n"
    "{\"step\": 100, \"event\": \"probe\", \"perplexity\": 8.0}\n";

TEST_CASE("a run that has not started waits", "[sweeps]") {
  const OneRun one;
  const RunStatus status = one.status();
  CHECK(status.phase == RunPhase::kWaiting);
  CHECK(status.total_steps == 100);
  CHECK(status.step == 0);
}

TEST_CASE("a run is finished with the last step's checkpoint and probe, whatever its attempts say", "[sweeps]") {
  const OneRun one;
  one.metrics("a", kSteps + kEnd);
  one.attempt(GENERATE(0, 137));
  CHECK(one.status().phase == RunPhase::kFailed);  // without a checkpoint
  one.checkpoint(50);
  CHECK(one.status().phase == RunPhase::kFailed);
  one.checkpoint(100);
  CHECK(one.status().phase == RunPhase::kFinished);
  CHECK(one.status().step == 100);
  one.metrics("a", kSteps);  // without the last probe
  CHECK(one.status().phase == RunPhase::kFailed);
}

TEST_CASE("how many steps a run has is said by the config that it was started with", "[sweeps]") {
  OneRun one;
  one.run.config.train.steps = 200;
  CHECK(one.status().total_steps == 100);
  one.write(one.folder().config("a"), "steps: [");  // damaged
  CHECK(one.status().total_steps == 200);
}

TEST_CASE("a run in Slurm's queue is queued or running", "[sweeps]") {
  const OneRun one;
  one.attempt(75, "7_0");
  const auto [state, phase, reason] = GENERATE(table<std::string, RunPhase, std::string>({
      {"PENDING", RunPhase::kQueued, "Resources"},
      {"CONFIGURING", RunPhase::kQueued, "Resources"},
      {"RUNNING", RunPhase::kRunning, ""},
      {"COMPLETING", RunPhase::kRunning, ""},
  }));
  CAPTURE(state);
  const RunStatus status = one.status({.jobs = {{"a", {.job = "8_3", .state = state, .reason = "Resources"}}}});
  CHECK(status.phase == phase);
  CHECK(status.job == "8_3");
  CHECK(status.reason == reason);
}

TEST_CASE("a local run is running while its own process is there", "[sweeps]") {
  const OneRun one;
  one.metrics("a", kSteps);
  one.attempt(0);
  // A process of the run has its config among its words, whatever else it is.
  Child child({"/bin/sh", "-c", "sleep 60 & wait", "train", one.folder().config("a")}, {},
              one.folder().path() + "/log");
  one.attempt({}, "", child.id());
  const RunStatus status = one.status();
  CHECK(status.phase == RunPhase::kRunning);
  CHECK(status.step == 30);
  CHECK(status.seconds_left == Approx((100 - 30) * 20 / 40.0));  // by the median rate, of steps of 2 x 10 tokens
  child.stop();
  siginfo_t ended;
  REQUIRE(waitid(P_PID, static_cast<id_t>(child.id()), &ended, WEXITED | WNOWAIT) == 0);
  CHECK(one.status().phase == RunPhase::kFailed);  // ended, but not waited for
  while (!child.ended()) usleep(1000);
  CHECK(one.status().phase == RunPhase::kFailed);
  CHECK(one.status().reason == "killed: no exit code was noted");

  one.attempt({}, "", getpid());  // there, but another's: process numbers come again
  CHECK(one.status().phase == RunPhase::kFailed);
}

TEST_CASE("a process of another machine is held to run while it writes", "[sweeps]") {
  const OneRun one;
  one.metrics("a", kSteps);
  one.attempt({}, "", 1, "elsewhere");
  CHECK(one.status().phase == RunPhase::kRunning);
  CHECK(one.status().reason == "on elsewhere");
  for (const std::string& file : {one.folder().run("a").metrics(), one.folder().attempts("a")})
    fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::minutes(10));
  CHECK(one.status().phase == RunPhase::kFailed);
}

TEST_CASE("a job of Slurm that has left the queue without an exit code was killed", "[sweeps]") {
  const OneRun one;
  one.attempt({}, "7_0");
  CHECK(one.status().phase == RunPhase::kFailed);
  CHECK(one.status().reason == "killed: no exit code was noted");
  CHECK(one.status().job == "7_0");
}

TEST_CASE("where Slurm is not heard, a job is held to run while it writes", "[sweeps]") {
  const OneRun one;
  const Queue unknown{.jobs = {}, .known = false};
  one.attempt({}, "7_0", 0, "n13");
  CHECK(one.status(unknown).phase == RunPhase::kRunning);
  CHECK(one.status(unknown).reason == "on n13");
  fs::last_write_time(one.folder().attempts("a"), fs::file_time_type::clock::now() - std::chrono::minutes(10));
  CHECK(one.status(unknown).phase == RunPhase::kFailed);
}

TEST_CASE("exit codes: stopped, or failed with what the run said last", "[sweeps]") {
  const OneRun one;
  one.output(
      "=== first\nspikesink: of an older attempt\n=== second\nstep 1\nspikesink: a.jsonl: gone\nmpirun: noise\n\n");
  one.attempt(3);
  CHECK(one.status().phase == RunPhase::kFailed);
  CHECK(one.status().reason == "a.jsonl: gone");

  one.attempt(75);
  CHECK(one.status().phase == RunPhase::kStopped);
  for (const int signal : {SIGUSR1, SIGTERM}) {  // before it was able to save anything
    one.attempt(128 + signal);
    CHECK(one.status().phase == RunPhase::kStopped);
  }

  one.output("=== first\nspikesink: of an older attempt\n=== second\n");
  one.attempt(137);
  CHECK(one.status().reason == "ended by signal 9 (Killed)");
  one.attempt(1);
  CHECK(one.status().reason == "exit code 1");
  one.output("Segmentation fault\n\n");
  CHECK(one.status().reason == "Segmentation fault");
}

TEST_CASE("a run that ended well but lacks its end says what is missing", "[sweeps]") {
  const OneRun one;
  one.attempt(0);
  CHECK(one.status().phase == RunPhase::kWaiting);  // its folder was removed, to run it anew
  one.metrics("a", kSteps + kEnd);
  CHECK(one.shorten(one.status().reason) ==
        "runs/a/checkpoints has no checkpoint of step 100; run the sweep again, or remove runs/a to run it anew");
  one.checkpoint(100);
  one.metrics("a", kSteps);
  CHECK(one.shorten(one.status().reason) ==
        "runs/a/metrics.jsonl has no probe of step 100; remove runs/a to run it anew");
  fs::remove_all(one.folder().run("a").checkpoints() + "/step_00000100");
  CHECK(one.shorten(one.status().reason).starts_with("runs/a/checkpoints/latest: points to"));
}

TEST_CASE("a damaged metrics file has a line of its own, and the rest of it counts", "[sweeps]") {
  const OneRun one;
  one.metrics("a", "garbage\n" + kSteps + "{\"step\": 31, \"lo");
  const RunStatus status = one.status();
  CHECK(one.shorten(status.metrics.problem) == "runs/a/metrics.jsonl:1: not a line of metrics; left out");
  CHECK(status.step == 30);
}

TEST_CASE("attempts are read back; damaged lines are left out", "[sweeps]") {
  const OneRun one;
  CHECK(read_attempts(one.folder().attempts("a")).empty());
  one.attempt(75, "4711_3");
  one.attempt({}, "", 42);
  const std::string good = "{\"event\":\"start\",\"time\":1,\"host\":\"n1\",\"job\":\"9_1\"}\n";
  for (const char* bad : {"", "{", "[1]", "{\"event\": \"start\"}", "{\"event\": 3, \"time\": 1}",
                          "{\"event\": \"end\", \"time\": 5, \"code\": \"x\"}"})
    JsonLines(one.folder().attempts("a")).append(bad);
  const auto attempts = read_attempts(one.folder().attempts("a"));
  REQUIRE(attempts.size() == 2);
  CHECK(attempts[0].job == "4711_3");
  CHECK(attempts[0].began == kNow);
  CHECK(attempts[0].ended == kNow + 60);
  CHECK(attempts[0].code == 75);
  CHECK(attempts[1].process == 42);
  CHECK(attempts[1].host == host_name());
  CHECK(!attempts[1].ended);
  CHECK(!attempts[1].code);
}

TEST_CASE("the end of an output is one short line without control characters", "[sweeps]") {
  const OneRun one;
  one.output(std::string(200000, '\n') + "spikesink: \x1b[31mred\tand " + std::string(1000, 'x') + "\n");
  const OutputEnd end = end_of_output(one.folder().output("a"));
  CHECK(end.error.starts_with(" [31mred and xxx"));
  CHECK(end.error.size() < 500);
  CHECK(end_of_output(one.folder().output("b")).last_line.empty());
}

}  // namespace
}  // namespace spikesink
