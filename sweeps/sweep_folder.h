#pragma once
#include <string>

#include "trainer/run_folder.h"

namespace spikesink {

/// Where the files of a sweep are: dir/name. Knows names only.
class SweepFolder {
 public:
  explicit SweepFolder(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string identity() const { return path_ + "/sweep.json"; }  ///< whose folder it is
  std::string lock() const { return path_ + "/.lock"; }           ///< held by who starts runs
  std::string log() const { return path_ + "/log.txt"; }          ///< what the local launcher said
  std::string runs() const { return path_ + "/runs"; }
  RunFolder run(const std::string& run) const { return RunFolder(runs() + "/" + run); }
  std::string configs() const { return path_ + "/configs"; }
  std::string config(const std::string& run) const { return configs() + "/" + run + ".yaml"; }  ///< resolved
  std::string attempts(const std::string& run) const { return path_ + "/attempts/" + run + ".jsonl"; }
  std::string output(const std::string& run) const { return path_ + "/output/" + run + ".txt"; }  ///< of all attempts
  std::string slurm() const { return path_ + "/slurm"; }  ///< the scripts that were submitted
  std::string slurm_output(const std::string& job) const { return slurm() + "/" + job + ".txt"; }  ///< what Slurm said
  std::string tables() const { return path_ + "/tables"; }  ///< what `sweep collect` writes

 private:
  std::string path_;
};

}  // namespace spikesink
