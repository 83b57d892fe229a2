#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace spikesink {

/// Where the files of a run are, dir/name, and what concerns several of them: which steps they tell of, to make, to
/// sync and to cut them back. DataError from what cannot be listed or read.
class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.yaml"; }
  std::string data() const { return path_ + "/data.json"; }
  std::string log() const { return path_ + "/log.txt"; }
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  std::string tensorboard() const { return path_ + "/tensorboard"; }
  std::string probes() const { return path_ + "/probes"; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  std::string first_checkpoint() const { return path_ + "/first_checkpoint.json"; }
  std::string divergences() const { return path_ + "/divergences.jsonl"; }
  std::string follower_log() const { return path_ + "/wandb.log"; }
  std::string lock() const { return path_ + "/.lock"; }
  std::string probe(std::int64_t step) const { return probes() + "/" + step_name(step) + ".h5"; }

  /// step_00001000
  static std::string step_name(std::int64_t step);
  /// The number in such a name, or nothing for any other name.
  static std::optional<std::int64_t> step_of(const std::string& name);

  /// Makes the folder and those in it, where they are missing. UsageError if that cannot be; DataError if one is a link
  /// to what is not there.
  void make() const;
  /// UsageError if the folder is itself a checkpoint, as `import` makes one: a run in it would not be found any more.
  void require_no_checkpoint() const;
  /// UsageError if the folder has a run, or is a checkpoint.
  void require_new() const;
  /// Removes what a killed process had not finished. Call it with the lock held.
  void remove_unfinished() const;
  /// Until what metrics, divergences and TensorBoard's events have is on the disk. DataError if that cannot be. Others
  /// may write them meanwhile.
  void sync_logs() const;
  /// The last step that metrics, divergences or checkpoints tell of; 0: none.
  std::int64_t last_step() const;
  /// The last step that metrics and probes tell of; 0: none.
  std::int64_t last_measured() const;
  /// Keeps beside the checkpoints, which can lie on another disk, that the run has had a whole one; the first of them
  /// is what it says. DataError if that cannot be.
  void note_checkpoint(std::int64_t step) const;
  /// Is there `latest`, or a step's folder, also one that lacks files or was set aside as damaged? Not one that was
  /// being written or removed.
  bool has_checkpoints() const;

 private:
  std::string path_;
};

}  // namespace spikesink
