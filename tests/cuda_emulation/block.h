#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/include/vector_types.h"

/// One block of threads as fibers: what kernels call, and what runs them.
namespace cuda_emulation {

inline constexpr std::size_t kMostShared = 227 * 1024;  ///< memory that a block may have

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
/// One lane's part in a function of a whole warp: the last of the 32 lanes to come calls `all` with what each gave.
using WarpFunction = void (*)(void* const (&given)[32]);
void together(WarpFunction all, void* given, Place at);

/// cp.async as late as it may be: `bytes` bytes, the first `valid` of them from `from` and zeros after, are written
/// when the thread waits for their group, so that who reads them before sees what was there.
void copy_later(void* to, const void* from, std::size_t bytes, std::size_t valid);
void commit_copies();
void wait_for_copies(std::size_t groups_left);

}  // namespace cuda_emulation
