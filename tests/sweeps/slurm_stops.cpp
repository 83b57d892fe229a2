// What the script does with signals, by running it under bash with stand-ins for Slurm's programs.
#include "slurm_job.h"
#include "sweeps/run_status.h"

namespace spikesink {
namespace {

bool requeues(const SlurmJob& job) { return has(job.calls(), "scontrol <requeue> <47_0>\n"); }

/// What scontrol shows of a job in its grace time.
constexpr const char* kPreempted =
    "JobId=48 JobState=RUNNING Reason=None PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime=2026-01-01T00:01:00";

TEST_CASE("a run that fails is an attempt with its code", "[sweeps][slurm]") {
  SlurmJob job;
  job.behave("echo 'spikesink: no shard'; exit 3");
  CHECK(job.run() == 3);
  CHECK(job.output().starts_with("=== attempt of job 47_0 on "));
  CHECK(job.output().ends_with("\nspikesink: no shard\n"));
  CHECK(has(job.attempts(), R"("code": 3,)"));
  CHECK(!requeues(job));
}

TEST_CASE("setup that ends the job is an attempt too", "[sweeps][slurm]") {
  SlurmJob job;
  job.sweep.slurm.setup = {"echo 'no such module' >&2", "exit 9"};
  CHECK(job.run() == 9);
  CHECK(job.output().ends_with("\nno such module\n"));
  CHECK(has(job.attempts(), R"("code": 9,)"));
  CHECK(job.calls() == "");
}

TEST_CASE("a run that is told to stop during setup is not started, and is queued again", "[sweeps][slurm]") {
  SlurmJob job;
  job.sweep.slurm.setup = {"kill -USR1 $$"};
  job.behave("save 20; exit 0");
  CHECK(job.run() == 0);
  CHECK(requeues(job));
  CHECK(!has(job.calls(), "spikesink"));
  CHECK(has(job.attempts(), R"("code": 75, "progressed": false})"));
}

TEST_CASE("before the time limit the run saves, and is queued again", "[sweeps][slurm]") {
  SlurmJob job;
  job.behave_until_told("save 20; exit 75");
  CHECK(job.run(0, "USR1") == 0);
  CHECK(requeues(job));
  CHECK(has(job.attempts(), R"("code": 75, "progressed": true})"));

  SECTION("unless Slurm does not want it") {
    job.refuse_requeue();
    CHECK(job.run(0, "USR1") == 75);
    CHECK(has(job.output(), "Slurm does not queue it again"));
  }
  SECTION("or it has been cancelled meanwhile") {
    job.slurm_shows("JobId=48 JobState=CANCELLED Reason=None PreemptTime=None");
    CHECK(job.run(0, "USR1") == 75);
    CHECK(!requeues(job));
  }
}

TEST_CASE("the ranks of a launcher are told by SIGUSR1", "[sweeps][slurm]") {
  SlurmJob job;
  job.sweep.slurm.launcher = GENERATE(SlurmLauncher::kSrun, SlurmLauncher::kMpirun);
  job.behave_until_told("save 20; exit 75");
  CHECK(job.run(0, "USR1") == 0);
  CHECK(requeues(job));
}

TEST_CASE("a run that is done, or fails, after it was told to stop is not queued again", "[sweeps][slurm]") {
  SlurmJob job;
  const int code = GENERATE(0, 4);
  job.behave_until_told(fmt::format("exit {}", code));
  CHECK(job.run(0, "USR1") == code);
  CHECK(!requeues(job));
}

TEST_CASE("a time limit that leaves no time for a checkpoint ends the run at the second time", "[sweeps][slurm]") {
  SlurmJob job;
  // The second kind ends by the signal, which came before the program was able to take it.
  const bool able = GENERATE(true, false);
  const std::string nothing = able ? "exit 75" : "";
  const auto run = [&](const std::string& before) {
    if (able)
      job.behave_until_told(before + nothing);
    else
      job.behave(before + "ready; exec sleep 60");
    return job.run(0, "USR1");
  };
  CHECK(run("save 20; ") == 0);
  CHECK(run("") == 0);
  CHECK(requeues(job));
  CHECK(run("save 30; ") == 0);  // the count begins again
  CHECK(run("") == 0);
  CHECK(run("") == 1);
  CHECK(!requeues(job));
  CHECK(has(job.output(), "spikesink: a: the time limit is too short: two attempts in a row saved no new checkpoint"));
  CHECK(has(job.attempts(), R"("code": 1, "progressed": false})"));

  // Attempts of another job do not count.
  std::string before = job.attempts();
  for (std::size_t at = 0; (at = before.find("47_0", at)) != std::string::npos;) before.replace(at, 4, "46_0");
  spill(job.folder.attempts("a"), before);
  CHECK(run("") == 0);
  CHECK(requeues(job));
}

TEST_CASE("a cancelled run saves, and stays out of the queue", "[sweeps][slurm]") {
  SlurmJob job;
  job.slurm_shows("JobId=48 JobState=CANCELLED Reason=None PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime=None");
  job.behave_until_told("save 20; exit 75");
  CHECK(job.run(0, "TERM") == 75);
  CHECK(!requeues(job));
  CHECK(has(job.attempts(), R"("code": 75, "progressed": true})"));
}

TEST_CASE("a preempted run that ends within its grace time is queued again", "[sweeps][slurm]") {
  SlurmJob job;
  job.slurm_shows(kPreempted);
  job.behave_until_told("save 20; exit 75");
  CHECK(job.run(0, "TERM") == 0);
  CHECK(requeues(job));
}

TEST_CASE("a run that SIGTERM itself ended, before it was able to take it, is queued again", "[sweeps][slurm]") {
  SlurmJob job;
  job.slurm_shows(kPreempted);
  job.behave_until_told("kill -TERM $$; sleep 60");
  CHECK(job.run(0, "TERM") == 0);
  CHECK(requeues(job));
  CHECK(has(job.attempts(), R"("code": 143, "progressed": false})"));

  job.slurm_shows("JobId=48 JobState=RUNNING Reason=None PreemptTime=None");  // so someone else has sent it
  CHECK(job.run(0, "TERM") == 143);
  CHECK(!requeues(job));
}

TEST_CASE("of a job that was killed Slurm's last words are the reason", "[sweeps][slurm]") {
  SlurmJob job;
  job.behave("kill -9 $PPID");
  CHECK(job.run() == 137);
  CHECK(!has(job.attempts(), R"("event": "end")"));
  const auto reason = [&] { return status_of(job.folder, *job.plan.start[0], {}).reason; };
  CHECK(reason() == "killed: no exit code was noted");
  std::filesystem::create_directories(job.folder.slurm());
  spill(job.folder.slurm() + "/47_0.txt",
        "slurmstepd-n13: error: *** JOB 48 ON n13 CANCELLED AT now DUE TO TIME LIMIT ***\n");
  CHECK(reason().ends_with(
      "; Slurm said last: slurmstepd-n13: error: *** JOB 48 ON n13 CANCELLED AT now DUE TO TIME LIMIT ***"));
}

}  // namespace
}  // namespace spikesink
