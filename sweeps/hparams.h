#pragma once
#include <vector>

#include "configs/sweep.h"
#include "io/hparams.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

/// The hyperparameters in which the sweep's runs differ, also in having them, in schema order.
std::vector<HyperparameterColumn> varying_hyperparameters(const Sweep& sweep);

/// Writes what TensorBoard's HParams page shows of the sweep's folder, which is there: as columns the hyperparameters
/// that vary, and the metrics that runs are compared by. In place of what an earlier call wrote. Each run's own
/// hyperparameters are in its event files, which `train` writes.
void write_sweep_hparams(const Sweep& sweep, const SweepFolder& folder);

}  // namespace spikesink
