#pragma once
#include <memory>

#include "trainer/dist/communicator.h"

namespace spikesink {

/// As `communicator`, but its operations on tensors stay on the rank: gathers and sums have the rank's own part. For
/// measuring what communication costs; values are of no use. `communicator` outlives it.
std::shared_ptr<Communicator> muted(Communicator& communicator);

}  // namespace spikesink
