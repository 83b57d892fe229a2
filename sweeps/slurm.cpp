#include "sweeps/slurm.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/json_lines.h"
#include "io/json_text.h"
#include "sweeps/command.h"

namespace spikesink {
namespace {

std::string notes_of(const SweepFolder& folder) { return folder.slurm() + "/jobs.jsonl"; }

/// An array that was submitted; task i is runs[i].
struct Submission {
  std::string job, script;  ///< its number; its file's name
  std::vector<std::string> runs;
};
/// Oldest first; lines that are damaged are left out.
std::vector<Submission> read_submissions(const SweepFolder& folder) {
  std::vector<Submission> submissions;
  for_each_json_line(notes_of(folder), [&](const nlohmann::json& line) {
    submissions.push_back({line.at("job"), line.at("script"), line.at("runs")});
  });
  return submissions;
}

/// Whether a job whose script Slurm calls so can be the submission's. Its folder may be seen in another place here;
/// what is no path ("(null)") says nothing.
bool may_be(const Submission& submission, const SweepFolder& folder, const std::string& script) {
  const std::filesystem::path file(script);
  if (!file.is_absolute()) return true;
  const auto name = std::filesystem::path(folder.path()).filename();
  return file.filename() == submission.script && file.parent_path().parent_path().filename() == name;
}

/// What a tool of Slurm says, as one line, without the tool's name in front of each.
std::string words_of(const CommandResult& result, const std::string& tool) {
  std::string words;
  const std::string text = result.err + result.out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    for (const std::string& prefix : {tool + ": ", std::string("error: "), std::string("fatal: ")})
      if (line.starts_with(prefix)) line.remove_prefix(prefix.size());
    if (!line.empty()) words.append(words.empty() ? "" : "; ").append(line);
    begin = end + 1;
  }
  return words.empty() ? fmt::format("exit code {}", result.code) : words;
}

/// The name of the script of the next submission. One that was refused is written over.
std::string next_script(const SweepFolder& folder) {
  return fmt::format("{}/submission_{:04}.sbatch", folder.slurm(), read_submissions(folder).size() + 1);
}

}  // namespace

std::string submit(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan, const std::string& script) {
  std::filesystem::create_directories(folder.slurm());
  const std::string file = next_script(folder);
  write_atomically(file, script);
  JsonLines notes(notes_of(folder));  // before there is a job to be noted
  const CommandResult result = run_command({"sbatch", "--parsable", file});
  if (result.code == 127)
    throw UsageError(
        fmt::format("sbatch cannot be started ({}): submit from a machine of a Slurm cluster, or run the sweep on "
                    "this one with --launcher local",
                    result.err));
  const std::string job = result.out.substr(0, result.out.find_first_of(";\n"));  // JOB or JOB;CLUSTER
  if (result.code != 0 || job.empty() || job.find_first_not_of("0123456789") != std::string::npos)
    throw UsageError(
        fmt::format("sbatch refuses {}: {}; change `slurm:` in {} or with --set; it takes a machine of a Slurm cluster",
                    file, words_of(result, "sbatch"), sweep.file));
  nlohmann::json runs = nlohmann::json::array();
  for (const SweepRun* run : plan.start) runs.push_back(run->name);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  try {
    const nlohmann::json note{{"job", job},
                              {"time", std::chrono::duration_cast<std::chrono::seconds>(now).count()},
                              {"script", std::filesystem::path(file).filename().string()},
                              {"runs", runs}};
    notes.append(json_text(note));
  } catch (const DataError& error) {
    throw DataError(
        fmt::format("{}; job {} was submitted without being noted: end it with scancel {}", error.what(), job, job));
  }
  return job;
}

SlurmView ask_slurm(const SweepFolder& folder) {
  const std::vector<Submission> submissions = read_submissions(folder);
  if (submissions.empty()) return {};
  std::vector<std::string> jobs;
  for (const Submission& submission : submissions) jobs.push_back(submission.job);
  // The array's number, the task's, state, reason, script. --array: a line for each task, also of those that wait.
  const CommandResult result =
      run_command({"squeue", "--noheader", "--array", fmt::format("--jobs={}", fmt::join(jobs, ",")),
                   "--format=%F\t%K\t%T\t%r\t%o"});
  SlurmView view;
  if (result.code == 127) {
    view.problem = fmt::format("squeue cannot be started ({}): what is in Slurm's queue is not known here", result.err);
    view.no_squeue = true;
  } else if (result.code != 0 && result.err.find("Invalid job id") == std::string::npos) {  // none of them is left
    view.problem = fmt::format("squeue fails: {}; what is in Slurm's queue is not known", words_of(result, "squeue"));
  }
  view.queue.known = view.problem.empty();
  if (!view.queue.known) return view;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line);
    std::string array, task, state, reason, script;
    for (std::string* cell : {&array, &task, &state, &reason}) std::getline(cells, *cell, '\t');
    std::getline(cells, script);
    if (task.empty() || task.find_first_not_of("0123456789") != std::string::npos) continue;
    for (const Submission& submission : submissions) {
      if (submission.job != array || !may_be(submission, folder, script)) continue;
      if (const std::size_t i = std::stoul(task); i < submission.runs.size())
        view.queue.jobs[submission.runs[i]] = {
            .job = array + "_" + task, .state = state, .reason = reason == "None" ? "" : reason};
    }
  }
  return view;
}

}  // namespace spikesink
