#pragma once
#include <cstdint>
#include <string_view>

namespace spikesink {

/// Where memory lies and kernels run.
enum class Device : std::uint8_t { kCpu, kCuda };

constexpr std::string_view name_of(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

/// Does this build have the CUDA backend? Without it no CUDA stream, and so no CUDA tensor, can be made.
#ifdef SPIKESINK_HAS_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

/// Does its CUDA code run on the emulation in tests/cuda_emulation, as C++ on the host?
#ifdef SPIKESINK_CUDA_EMULATED
inline constexpr bool kCudaEmulated = true;
#else
inline constexpr bool kCudaEmulated = false;
#endif

}  // namespace spikesink
