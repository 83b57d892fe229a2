#pragma once
#include <cstdint>
#include <limits>
#include <source_location>

#include "kernels/core/check.h"
#include "kernels/core/cuda_check.cuh"
#include "kernels/core/stream.h"

namespace spikesink {

/// A stream and the place in the code that launches on it, for messages. Made from the stream where launch() is called.
struct LaunchPlace {
  LaunchPlace(const Stream& stream_, std::source_location at_ = std::source_location::current())
      : stream(stream_), at(at_) {}
  const Stream& stream;
  std::source_location at;
};

/// Blocks of a grid or threads of a block.
struct Extent {
  Extent(std::int64_t x_, std::int64_t y_ = 1, std::int64_t z_ = 1) : x(x_), y(y_), z(z_) {
    require(x >= 0 && x <= std::numeric_limits<std::int32_t>::max() && y >= 0 && y <= 65535 && z >= 0 && z <= 65535,
            "launch extent: ", x, " x ", y, " x ", z);
  }
  bool empty() const { return x == 0 || y == 0 || z == 0; }
  dim3 dim() const { return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)}; }

  std::int64_t x, y, z;
};

/// The only way to start a kernel: checks the launch and does nothing for an empty grid. `shared_bytes` is the size of
/// dynamic_shared(). Faults inside of the kernel show at a later call.
template <class... Parameters, class... Args>
void launch(LaunchPlace place, void (*kernel)(Parameters...), Extent grid, Extent block, std::int64_t shared_bytes,
            Args... args) {
  require(place.stream.device == Device::kCuda, "launch on a stream on ", name_of(place.stream.device));
  if (grid.empty()) return;
  // Without asking a kernel has 48 KiB less its __shared__ variables, whose size only the compiler knows.
  if (shared_bytes > 0)
    cuda_check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               "shared memory of the kernel", place.at);
  cudaLaunchConfig_t config{};
  config.gridDim = grid.dim();
  config.blockDim = block.dim();
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = static_cast<cudaStream_t>(place.stream.native.get());
  cuda_check(cudaLaunchKernelEx(&config, kernel, args...), "launch", place.at);
  cuda_check(cudaGetLastError(), "launch", place.at);
}

/// The shared memory whose size a launch gives, from its first byte.
template <class T>
__device__ T* dynamic_shared() {
#ifdef SPIKESINK_CUDA_EMULATED
  return static_cast<T*>(cuda_emulation::dynamic_shared());
#else
  extern __shared__ __align__(16) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
#endif
}

}  // namespace spikesink
