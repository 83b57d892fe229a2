#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/study/study.h"
#include "models/interventions.h"
#include "models/observer.h"

namespace spikesink {

/// A study's text as passes: every token of a sequence is an input, and each but the first is predicted. Counts the
/// passes that are made for the study's progress.
class StudyText {
 public:
  /// `runs`: how many times the whole text will go through the model, foretell() apart.
  StudyText(const Study& study, std::int64_t runs);
  /// The same, once it is known better.
  void expect(std::int64_t runs) { total_ = num_passes_ * runs; }

  /// What a pass may have beside its tokens.
  struct Changes {
    Intervention* intervention = nullptr;
    Observer* observer = nullptr;
    bool without_first_token = false;  ///< no query but the first attends to position 0
  };
  std::int64_t num_passes() const { return num_passes_; }
  /// Sequences of pass `p`; the first of them is the p * micro_batch-th.
  std::int64_t sequences(std::int64_t p) const;
  /// The losses of pass `p`, nats: (sequences, T), that of a position being of the token after it; 0 at the last.
  std::vector<double> pass(std::int64_t p, const Changes& changes) const;
  /// The mean over sequences of the loss at each position but the last, (T - 1).
  std::vector<double> loss_by_position(const Changes& changes) const;
  /// The mean of those.
  double loss(const Changes& changes) const;
  /// Makes the first pass twice, the second time by the clock, and tells the study how long all runs will take at most.
  void foretell(const std::string& analysis, const Changes& typical) const;

 private:
  std::vector<double> run(std::int64_t p, const Changes& changes) const;

  const Study& study_;
  std::int64_t num_passes_, total_;
  mutable std::int64_t done_ = 0;
};

}  // namespace spikesink
