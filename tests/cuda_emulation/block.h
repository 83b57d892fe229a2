#pragma once
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/include/vector_types.h"

/// One block of threads as fibers: what kernels call, and what runs them.
namespace cuda_emulation {

/// What a kernel did wrong.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Grid {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;
  std::function<void()> kernel;  ///< what one thread does
};

/// Runs all blocks, one after another. Throws Fault.
void run(const Grid& grid);

using Place = std::source_location;

void* dynamic_shared();
void barrier(Place at);
[[noreturn]] void trap(const std::string& what, Place at);

/// One lane's part in a warp function: all lanes of the mask must come to the same place with the same mask. Gives the
/// value of lane `source` (within the warp).
std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned source, Place at);
/// The lanes of the mask whose `holds` is true.
unsigned ballot(unsigned mask, bool holds, Place at);
unsigned lane();

}  // namespace cuda_emulation
