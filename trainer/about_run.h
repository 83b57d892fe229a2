#pragma once
#include <string>
#include <vector>

#include "models/cost.h"
#include "models/step_share.h"
#include "trainer/trainer.h"

namespace spikesink {

/// Lines for the log at a run's start: the program, the model, the device with its rates and what was chosen for it,
/// the ranks, and the run. `share`: rank 0's of a step; `peak`: FLOP/s of all ranks, of which MFU is a share.
std::vector<std::string> about_run(const TrainJob& job, const ModelCost& cost, const StepShare& share, double peak);

}  // namespace spikesink
