#include "slurm_job.h"
#include "sweeps/slurm_template.h"

namespace spikesink {
namespace {

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

TEST_CASE("the template that is built in is the file of the tree", "[sweeps][slurm]") {
  CHECK(kSlurmTemplate == slurp("configs/slurm/array.sbatch"));
}

TEST_CASE("a script asks Slurm for what the sweep file says, and for no more", "[sweeps][slurm]") {
  SlurmJob job({"a", "b", "c"});
  const std::string plain = job.script();
  CHECK(has(plain, "#SBATCH --array=0-2\n"));
  CHECK(has(plain, "#SBATCH --signal=B:USR1@120\n"));
  CHECK(has(plain, "\nprogram=" + job.program + "\n"));
  CHECK(has(plain, "#SBATCH --output=" + job.folder.path() + "/slurm/%A_%a.txt\n"));
  for (const char* absent : {"#SBATCH --partition", "#SBATCH --account", "#SBATCH --qos", "#SBATCH --mem",
                             "#SBATCH --gpus", "#SBATCH --cpus", "#SBATCH --constraint", "#SBATCH \n", "{{", "}}\n"})
    CHECK(!has(plain, absent));

  job.sweep.slurm = {.partition = "gpu",
                     .account = "physics",
                     .qos = "long",
                     .constraint = "a100&nvlink",
                     .memory = "200G",
                     .time = "2-12:00:00",
                     .nodes = 2,
                     .tasks_per_node = 8,
                     .gpus_per_node = 8,
                     .cpus_per_task = 12,
                     .throttle = 2,
                     .stop_seconds = 300,
                     .launcher_options = {"--mpi=pmix"},
                     .extra = {"--exclude=n13", "--mail-type=FAIL"},
                     .setup = {"module load cuda/13.0", "ulimit -l unlimited"},
                     .container = "apptainer exec --nv my.sif",
                     .program = "/opt/spikesink"};
  const std::string full = job.script();
  for (const char* line : {"#SBATCH --array=0-2%2",
                           "#SBATCH --partition=gpu",
                           "#SBATCH --account=physics",
                           "#SBATCH --qos=long",
                           "#SBATCH --constraint=a100&nvlink",
                           "#SBATCH --mem=200G",
                           "#SBATCH --time=2-12:00:00",
                           "#SBATCH --nodes=2",
                           "#SBATCH --ntasks-per-node=8",
                           "#SBATCH --gpus-per-node=8",
                           "#SBATCH --cpus-per-task=12",
                           "#SBATCH --signal=B:USR1@300",
                           "#SBATCH --exclude=n13",
                           "#SBATCH --mail-type=FAIL",
                           "module load cuda/13.0",
                           "ulimit -l unlimited",
                           "ranks=16",
                           "launcher=srun",
                           "  '--mpi=pmix'",
                           "  apptainer exec --nv my.sif",
                           "program=/opt/spikesink"}) {
    CAPTURE(line);
    CHECK(count(full, fmt::format("\n{}\n", line)) == 1);
  }
  // Slurm reads no option behind the first line of shell.
  CHECK(full.rfind("\n#SBATCH") < full.find("\nruns=("));
}

TEST_CASE("launchers start the program of the task's run in its container", "[sweeps][slurm]") {
  const auto [launcher, words] = GENERATE(table<SlurmLauncher, std::string>(
      {{SlurmLauncher::kNone, ""},
       {SlurmLauncher::kSrun, "srun <--kill-on-bad-exit=1> <--mpi=pmix> <env> <IN=1>"},
       {SlurmLauncher::kMpirun, "mpirun <-np> <4> <--mpi=pmix> <env> <IN=1>"}}));
  SlurmJob job({"a", "b"});
  job.sweep.slurm.launcher = launcher;
  if (launcher != SlurmLauncher::kNone) {
    job.sweep.slurm.tasks_per_node = 4;
    job.sweep.slurm.launcher_options = {"--mpi=pmix"};
    job.sweep.slurm.container = "env IN=$((2 - 1))";  // shell text, as it stands
  }
  CHECK(job.run(1) == 0);
  const std::string arguments = fmt::format("<train> <{}> <--resume>\n", job.folder.config("b"));
  const std::string launch = words.empty() ? "" : fmt::format("{} <{}> {}", words, job.program, arguments);
  CHECK(job.calls() == launch + "spikesink " + arguments);
  CHECK(has(job.attempts(1), R"("event": "start")"));
  CHECK(has(job.attempts(1), R"("job": "47_1", "host": ")"));
  CHECK(has(job.attempts(1), R"("code": 0,)"));
}

TEST_CASE("nothing that comes from a sweep file is run as shell", "[sweeps][slurm]") {
  const std::vector<std::string> hostile = {
      "it's $(touch pwned)", "\"; touch pwned; \"", "`touch pwned` $HOME *", "two\nlines; touch pwned", "-n", "a\\"};
  SlurmJob job(hostile, "a sweep's $(touch pwned)");
  job.sweep.slurm.launcher = SlurmLauncher::kSrun;
  job.sweep.slurm.launcher_options = {"--comment=$(touch pwned) 'it' \"is\""};
  job.program = job.temp() / "it's spikesink";
  // The path of the log is a value of #SBATCH, which cannot have a quote.
  CHECK(has(message_of<UsageError>([&] { job.script(); }), "has a character that Slurm would misread in a script (')"));
  job.folder = SweepFolder(job.temp() / "a sweep $(touch pwned) {{run}}");
  job.behave("exit 0");
  CHECK(has(job.script(), "#SBATCH --output=\"" + job.folder.path() + "/slurm/%A_%a.txt\"\n"));
  for (std::size_t i = 0; i < hostile.size(); ++i) {
    CAPTURE(hostile[i]);
    CHECK(job.run(static_cast<int>(i)) == 0);
    CHECK(has(job.calls(), fmt::format("<{}>", job.sweep.slurm.launcher_options[0])));
    CHECK(has(job.calls(), "it's spikesink <train> <" + job.folder.config(hostile[i]) + "> <--resume>\n"));
    CHECK(has(job.attempts(static_cast<int>(i)), R"("code": 0,)"));
  }
  CHECK(!std::filesystem::exists("pwned"));
  CHECK(!std::filesystem::exists(job.temp() / "pwned"));
}

TEST_CASE("what Slurm would misread, or cannot be, is refused", "[sweeps][slurm]") {
  SlurmJob job;
  SlurmConfig& slurm = job.sweep.slurm;
  const auto refusal = [&](auto&& change) {
    change();
    const std::string message = message_of<UsageError>([&] { job.script(); });
    slurm = {.launcher = SlurmLauncher::kNone};
    return message;
  };
  CHECK(has(refusal([&] { slurm.partition = "a\n#SBATCH --exclusive"; }),
            "slurm.partition: 'a?#SBATCH --exclusive' has a character"));
  CHECK(
      has(refusal([&] { slurm.account = "a #b"; }), "slurm.account: 'a #b' has a character that Slurm would misread"));
  CHECK(has(refusal([&] { slurm.qos = ""; }), "slurm.qos: is empty"));
  CHECK(has(refusal([&] { slurm.extra = {"exclude=n13"}; }), "slurm.extra: 'exclude=n13' is not an option of sbatch"));
  CHECK(has(refusal([&] { slurm.extra = {"--a\nrm"}; }), "slurm.extra: "));
  CHECK(has(refusal([&] { slurm.extra = {"--a\rrm"}; }), "slurm.extra: "));
  slurm = {};
  job.folder = SweepFolder("runs/50%");
  CHECK(has(message_of<UsageError>([&] { job.script(); }), "runs/50%: Slurm would misread the %"));
}

TEST_CASE("a template of one's own is filled in the same way", "[sweeps][slurm]") {
  SlurmJob job({"a", "b c"});
  job.sweep.slurm.script_template = job.temp() / "mine.sbatch";
  CHECK(has(message_of<UsageError>([&] { job.script(); }),
            "slurm.template: " + job.temp() / "mine.sbatch" + ": no such file"));
  spill(job.temp() / "mine.sbatch", "#SBATCH -p {{partition}}\n{{launcher}} {{ranks}}\n  <{{run}}>\nlast");
  CHECK(job.script() == "none 1\n  <a>\n  <'b c'>\nlast\n");
  spill(job.temp() / "mine.sbatch", "\n{{partitoin}}\n");
  CHECK(has(message_of<UsageError>([&] { job.script(); }),
            "mine.sbatch:2: {{partitoin}}: no such place; did you mean {{partition}}?"));
  spill(job.temp() / "mine.sbatch", "{{run");
  CHECK(has(message_of<UsageError>([&] { job.script(); }), "mine.sbatch:1: {{run}}: no such place"));
}

}  // namespace
}  // namespace spikesink
