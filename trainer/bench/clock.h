#pragma once
#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/core/gpu.h"
#include "kernels/core/stream.h"

namespace spikesink {

/// Of at least one value; of an even number the mean of the two in the middle.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// Seconds that `work()` takes on the stream's device: on a GPU between two of its events, so that what the host does
/// meanwhile is not counted where it is done sooner.
template <class F>
double device_seconds(const Stream& stream, F&& work) {
  if constexpr (kHasCuda) {
    if (stream.device == Device::kCuda) {
      const gpu::Event begin = gpu::record_event(stream.native.get());
      work();
      return gpu::seconds_between(begin, gpu::record_event(stream.native.get()));
    }
  }
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace spikesink
