#pragma once
#include <memory>

#include "trainer/dist/transport.h"

namespace spikesink {

#ifdef SPIKESINK_HAS_MPI
inline constexpr bool kHasMpi = true;
#else
inline constexpr bool kHasMpi = false;
#endif

/// Starts MPI, which a process does once. Only in a build that has it.
std::unique_ptr<Transport> open_mpi();

}  // namespace spikesink
