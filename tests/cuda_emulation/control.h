#pragma once
#include <cstdint>

/// For tests: the freedom that CUDA leaves open, under control. Plain C++, for host code.
namespace cuda_emulation {

/// In which order the threads of a block, and the blocks of a grid, run.
enum class Order { kAscending, kDescending, kRandom };

void set_order(Order order, std::uint64_t seed = 0);

/// Which of the legal orders between streams is taken.
void set_stream_seed(std::uint64_t seed);

std::int64_t live_device_bytes();
std::int64_t num_launches();  ///< kernels and library calls that have run, so that a test can say that one did

}  // namespace cuda_emulation
