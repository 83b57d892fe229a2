#pragma once
#include <string>
#include <utility>
#include <vector>

#include "configs/sweep.h"
#include "sweeps/run_status.h"

namespace spikesink {

/// A line a run (row, state, step, loss, sink, spike, tokens/s, time left, reason of failure), then a line that counts.
std::string status_table(const Sweep& sweep, const std::vector<std::pair<const SweepRun*, RunStatus>>& runs);

}  // namespace spikesink
