#pragma once
#include <algorithm>
#include <cstdint>

#include "models/sample_loss.h"

namespace spikesink {

/// Memory of tensors that a run took at most, in bytes of its pools.
struct MemoryUse {
  std::int64_t peak = 0;      ///< in use: the sum of each pool's peak
  std::int64_t reserved = 0;  ///< taken from the system at a time: in use or kept for reuse

  static MemoryUse of(const Pool& pool) { return {pool.peak_bytes(), pool.reserved_bytes()}; }
  /// The stream's pool and that of the passes, which may be one.
  static MemoryUse of(const Stream& stream, const TrainingPasses& passes) {
    MemoryUse use = of(*stream.pool);
    if (!passes.has_own_pool()) return use;
    return {use.peak + passes.pool().peak_bytes(), use.reserved + passes.pool().reserved_bytes()};
  }
  MemoryUse or_more(const MemoryUse& other) const {
    return {std::max(peak, other.peak), std::max(reserved, other.reserved)};
  }
  bool operator==(const MemoryUse&) const = default;
};

}  // namespace spikesink
