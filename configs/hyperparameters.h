#pragma once
#include <string>
#include <vector>

#include "configs/config.h"
#include "io/hparams.h"

namespace spikesink {

/// What of a config decides a run's figures, by its keys, in schema order: the values of model, data and train,
/// run.seed and the precisions. Lists of numbers become one each (train.optimizer.beta1, beta2), lists of files are
/// left out, as are keys without a value or without effect.
Hyperparameters hyperparameters_of(const Config& config);
/// All names that there are, in schema order.
std::vector<std::string> hyperparameter_names();

}  // namespace spikesink
