#pragma once
#include "kernels/core/device.h"

#if defined(SPIKESINK_HAS_CUDA) && !defined(SPIKESINK_CUDA_EMULATED)
#include <nvtx3/nvToolsExt.h>
#endif

namespace spikesink {

/// Named stretches of host time in the timelines of NVIDIA's profilers. They cost some nanoseconds where no profiler
/// listens, and nothing in a build without CUDA.
inline constexpr bool kHasRanges = kHasCuda && !kCudaEmulated;

inline void begin_range([[maybe_unused]] const char* name) {
#if defined(SPIKESINK_HAS_CUDA) && !defined(SPIKESINK_CUDA_EMULATED)
  nvtxRangePushA(name);
#endif
}
inline void end_range() {
#if defined(SPIKESINK_HAS_CUDA) && !defined(SPIKESINK_CUDA_EMULATED)
  nvtxRangePop();
#endif
}

/// One from here to the end of the scope.
class Range {
 public:
  explicit Range(const char* name) { begin_range(name); }
  ~Range() { end_range(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace spikesink
