#pragma once
#include <cstdint>
#include <deque>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace spikesink {

/// A step that went wrong: a line of a run's divergences.jsonl, which is never cut back.
struct Divergence {
  std::int64_t step;       ///< 1-based
  std::string kind;        ///< "not_finite" or "loss_spike"
  double loss, grad_norm;  ///< null in the file where they are not finite
  std::string where;       ///< not_finite: the module or gradient that was so first; of many ranks, on which
  double deviations = 0;   ///< loss_spike: standard deviations above the mean of the losses before
  std::int64_t data_step;  ///< 0-based step of the data: its samples are draws data_step * sequences and on
  std::int64_t sequences;
  std::string action;  ///< "stop", "skip", rollback_to(), or "none"

  std::string to_json() const;
};

/// "rollback to step 1000"
std::string rollback_to(std::int64_t step);

/// A line of divergences.jsonl, if there is one, of a run that goes on from step `step` with data of step `data_step`
/// on: a rollback before may have led to other data. DataError if it cannot be looked at or written.
void note_resumed(const std::string& file, std::int64_t step, std::int64_t data_step, std::int64_t sequences);

/// The steps that a run has skipped on the way that it went last, by its divergences.jsonl, if it has one. DataError if
/// it cannot be read.
std::set<std::int64_t> skipped_steps(const std::string& file);

/// How a run came from a checkpoint to a step.
struct WayToStep {
  /// By how many steps the data was ahead of the run's own, from which step on; the checkpoint's is the first.
  std::map<std::int64_t, std::int64_t> ahead;
  /// Where the step was not finite when the run came to it, the last time that it was so.
  std::optional<std::string> diverged;
  /// The last step whose line in metrics.jsonl is of this way: a rollback or a resume takes later ones back.
  std::int64_t logged = std::numeric_limits<std::int64_t>::max();

  std::int64_t data_step(std::int64_t step) const { return step - 1 + std::prev(ahead.upper_bound(step - 1))->second; }
};
/// That to step `step`, of a run that never had more than `most` steps to make, from a checkpoint of step `from` whose
/// data was ahead by `skipped`, by the run's divergences.jsonl, which tells of rollbacks and of resumes. Of a step that
/// diverged the way on which it did, of any other that which the run went last. Lines that are damaged, or that no run
/// can have written, are left out. DataError if there is a file that cannot be read.
WayToStep way_to(std::int64_t step, const std::string& file, std::int64_t from, std::int64_t skipped,
                 std::int64_t most);

/// A loss that is `deviations` standard deviations above the mean of the `losses` before it.
struct LossSpike {
  double deviations;
  std::size_t losses;
};

/// Judges each loss by those of the steps before it.
class LossWatch {
 public:
  static constexpr std::size_t kWindow = 128, kFewest = 32;  ///< losses that it judges by: at most, at least

  /// `threshold`: standard deviations above the mean that are a spike; 0: none is.
  explicit LossWatch(double threshold) : threshold_(threshold) {}
  /// Takes a loss in; what it is if that is a spike.
  std::optional<LossSpike> look(double loss);
  /// Forgets all, for losses that come again.
  void clear() { losses_.clear(); }

 private:
  double threshold_;
  std::deque<double> losses_;
};

}  // namespace spikesink
