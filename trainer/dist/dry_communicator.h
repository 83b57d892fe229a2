#pragma once
#include "trainer/dist/communicator.h"

namespace spikesink {

/// Rank `rank` of `world`, on dry streams and without the others: operations have their checks, and what they would
/// send is counted in the stream's Work too. Other ranks' news are this one's.
std::shared_ptr<Communicator> dry_communicator(int rank, int world);

}  // namespace spikesink
