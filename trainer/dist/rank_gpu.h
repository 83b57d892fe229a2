#pragma once

namespace spikesink {

class Ranks;

/// The index of this rank's GPU: its place among the ranks of its node, or of the GPUs that the launcher leaves it to
/// see. All ranks call. UsageError where two ranks would have the same one.
int gpu_of_rank(const Ranks& ranks);

}  // namespace spikesink
