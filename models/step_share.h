#pragma once
#include <algorithm>
#include <cstdint>

namespace spikesink {

/// Which sequences of a step a rank takes. All ranks make the same number of passes; who has no sequences left makes
/// empty ones.
struct StepShare {
  std::int64_t total;  ///< sequences of the step, S
  std::int64_t first;  ///< the rank's first one
  std::int64_t count;  ///< of the rank
  std::int64_t passes;

  /// Sequences floor(r S / W) .. floor((r + 1) S / W) - 1, r of W, `micro_batch` of them a pass.
  static StepShare of(std::int64_t total, std::int64_t micro_batch, std::int64_t rank = 0, std::int64_t world = 1) {
    const std::int64_t first = rank * total / world, most = (total + world - 1) / world;
    return {.total = total,
            .first = first,
            .count = (rank + 1) * total / world - first,
            .passes = (most + micro_batch - 1) / micro_batch};
  }
  /// Sequences in pass `p`; the first of them is the rank's p * micro_batch-th.
  std::int64_t in_pass(std::int64_t p, std::int64_t micro_batch) const {
    return std::clamp<std::int64_t>(count - p * micro_batch, 0, micro_batch);
  }
};

}  // namespace spikesink
