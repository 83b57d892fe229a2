#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace spikesink {

/// A figure over the seeds whose runs are finished.
struct OverSeeds {
  std::int64_t count = 0;
  double mean = 0;
  double deviation = 0;  ///< of the sample; 0 for one seed
};
OverSeeds over_seeds(const std::vector<double>& values);

/// Whether a figure lies to the same side of the baseline's as in the paper.
enum class Direction {
  kNone,     ///< there is nothing to compare, or the paper has no direction
  kAgrees,   ///< the same side
  kDiffers,  ///< the other side
  kUnclear,  ///< our difference is within its noise
};
std::string_view name_of(Direction direction);  ///< none, agrees, differs, unclear

/// A figure of a row and of the baseline, ours and the paper's. The steps are those of the last digit that is printed.
struct Contrast {
  OverSeeds row, baseline;
  double step = 0;
  std::optional<double> paper_row, paper_baseline;
  double paper_step = 0;
};

/// The sign of row - baseline, ours held against the paper's:
///
/// - The paper has a direction where its difference is more than one step; one step can be of rounding alone.
/// - Ours is unclear where |difference| is not more than one step, or, with two seeds or more of both, not more than
///   two standard errors of the difference, 2 sqrt(s_row^2 / n_row + s_baseline^2 / n_baseline) (Welch 1947: the two
///   need not have equal deviations). With one seed of either the noise is not known, and the step alone counts.
Direction direction_of(const Contrast& contrast);

}  // namespace spikesink
