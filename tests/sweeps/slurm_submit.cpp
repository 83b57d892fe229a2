// sbatch and squeue are stand-ins on a PATH of their own.
#include "slurm_job.h"

namespace spikesink {
namespace {

class FakeSlurm : public SlurmJob {
 public:
  FakeSlurm() : SlurmJob({"a", "b", "c"}), path_(temp() / "bin:/usr/bin:/bin") {}
  void sbatch(const std::string& body) { write_program(temp() / "bin/sbatch", body); }
  void squeue(const std::string& body) {
    write_program(temp() / "bin/squeue", "echo \"$@\" >'" + temp() / "asked" + "'\n" + body);
  }
  std::string asked() const { return slurp(temp() / "asked"); }
  std::string submit_it() { return submit(sweep, folder, plan, script()); }
  std::string notes() const { return slurp(folder.slurm() + "/jobs.jsonl"); }

 private:
  Path path_;
};

TEST_CASE("a submission is kept and noted with its number", "[sweeps][slurm]") {
  FakeSlurm slurm;
  slurm.sbatch("[ \"$1\" = --parsable ] && grep -q 'array=0-2' \"$2\" && echo '4711;alpha'");
  CHECK(slurm.submit_it() == "4711");
  CHECK(slurp(slurm.folder.slurm() + "/submission_0001.sbatch") == slurm.script());
  CHECK(has(slurm.notes(), R"("job":"4711")"));
  CHECK(has(slurm.notes(), R"("runs":["a","b","c"])"));
  slurm.sbatch("echo 4712");
  CHECK(slurm.submit_it() == "4712");
  CHECK(std::filesystem::exists(slurm.folder.slurm() + "/submission_0002.sbatch"));
}

TEST_CASE("a refused submission says what sbatch says, and is not noted", "[sweeps][slurm]") {
  FakeSlurm slurm;
  slurm.sbatch(
      "printf 'sbatch: error: invalid partition specified: gpux\\nsbatch: error: Batch job submission failed: "
      "Invalid partition name specified\\n' >&2; exit 1");
  const std::string message = message_of<UsageError>([&] { slurm.submit_it(); });
  CHECK(has(message, "sbatch refuses " + slurm.folder.slurm() +
                         "/submission_0001.sbatch: invalid partition specified: gpux; "
                         "Batch job submission failed: Invalid partition name specified; "));
  CHECK(slurm.notes() == "");
  slurm.sbatch("exit 3");
  CHECK(has(message_of<UsageError>([&] { slurm.submit_it(); }), "submission_0001.sbatch: exit code 3; "));
  slurm.sbatch("echo all fine");  // without a number there is nothing to note
  CHECK(has(message_of<UsageError>([&] { slurm.submit_it(); }), "submission_0001.sbatch: all fine; "));
  CHECK(slurm.notes() == "");
  std::filesystem::remove(slurm.temp() / "bin/sbatch");
  const Path nowhere(slurm.temp() / "bin");
  const std::string missing = message_of<UsageError>([&] { slurm.submit_it(); });
  CHECK(has(missing, "sbatch cannot be started"));
  CHECK(has(missing, "--launcher local"));
}

TEST_CASE("the queue is by run, of the newest submission that has it", "[sweeps][slurm]") {
  FakeSlurm slurm;
  CHECK(ask_slurm(slurm.folder).queue.jobs.empty());  // asks nobody: there is no squeue
  CHECK(ask_slurm(slurm.folder).problem == "");
  slurm.sbatch("echo 4711");
  slurm.submit_it();
  slurm.plan.start = {slurm.plan.start[2], slurm.plan.start[0]};
  slurm.sbatch("echo 4720");
  slurm.submit_it();

  // squeue has the script's whole path, or none.
  slurm.squeue(R"(s=/mnt/sweep/slurm/submission
printf '4711\t0\tRUNNING\tNone\t%s_0001.sbatch\n' $s
printf '4711\t1\tPENDING\t(Nodes required, and more)\t(null)\n'
printf '4720\t0\tPENDING\tResources\t%s_0002.sbatch\n4720\t99\tPENDING\tResources\t%s_0002.sbatch\n' $s $s
printf '4799\t0\tRUNNING\tNone\t%s_0001.sbatch\n4711\n4711\tN/A\tPENDING\tNone\t%s_0001.sbatch\n' $s $s)");
  const SlurmView view = ask_slurm(slurm.folder);
  CHECK(view.problem == "");
  CHECK(has(slurm.asked(), "--array --jobs=4711,4720"));
  REQUIRE(view.queue.jobs.size() == 3);
  CHECK(view.queue.jobs.at("a").job == "4711_0");
  CHECK(view.queue.jobs.at("a").state == "RUNNING");
  CHECK(view.queue.jobs.at("a").reason == "");
  CHECK(view.queue.jobs.at("b").reason == "(Nodes required, and more)");
  CHECK(view.queue.jobs.at("c").job == "4720_0");
  CHECK(view.queue.jobs.at("c").state == "PENDING");
}

TEST_CASE("a job that has one of our numbers and another script is not ours", "[sweeps][slurm]") {
  FakeSlurm slurm;
  slurm.sbatch("echo 4711");
  slurm.submit_it();
  const std::string script = GENERATE(values<std::string>(
      {"/usr/bin/train", "/mnt/sweep/slurm/submission_0002.sbatch", "/mnt/other/slurm/submission_0001.sbatch"}));
  slurm.squeue("printf '4711\\t0\\tRUNNING\\tNone\\t" + script + "\\n'");
  CHECK(ask_slurm(slurm.folder).queue.jobs.empty());
  CHECK(ask_slurm(slurm.folder).queue.known);
}

TEST_CASE("a queue that has forgotten the jobs is empty, and one that does not answer a problem", "[sweeps][slurm]") {
  FakeSlurm slurm;
  slurm.sbatch("echo 4711");
  slurm.submit_it();
  slurm.squeue("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  CHECK(ask_slurm(slurm.folder).queue.jobs.empty());
  CHECK(ask_slurm(slurm.folder).problem == "");
  slurm.squeue("echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1");
  CHECK(has(ask_slurm(slurm.folder).problem, "squeue fails: Unable to contact slurm controller; "));
  CHECK(!ask_slurm(slurm.folder).queue.known);
  CHECK(!ask_slurm(slurm.folder).no_squeue);
  std::filesystem::remove(slurm.temp() / "bin/squeue");
  const Path nowhere(slurm.temp() / "bin");
  CHECK(has(ask_slurm(slurm.folder).problem, "squeue cannot be started"));
  CHECK(!ask_slurm(slurm.folder).queue.known);
  CHECK(ask_slurm(slurm.folder).no_squeue);
}

}  // namespace
}  // namespace spikesink
