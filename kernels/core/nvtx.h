#pragma once
#include "kernels/core/device.h"

#if defined(SPIKESINK_HAS_CUDA) && !defined(SPIKESINK_CUDA_EMULATED)
#include <nvtx3/nvToolsExt.h>
#endif

namespace spikesink {

/// A named stretch of host time in the timelines of NVIDIA's profilers, from here to the end of the scope. Costs some
/// nanoseconds where no profiler listens, and nothing in a build without CUDA.
class Range {
 public:
#if defined(SPIKESINK_HAS_CUDA) && !defined(SPIKESINK_CUDA_EMULATED)
  explicit Range(const char* name) { nvtxRangePushA(name); }
  ~Range() { nvtxRangePop(); }
#else
  explicit Range(const char*) {}
  ~Range() {}
#endif
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace spikesink
