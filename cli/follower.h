#pragma once
#include <string>
#include <vector>

#include "trainer/run_folder.h"

namespace spikesink::cli {

/// The command that sends the run's metrics to Weights & Biases (TrainJob::follower), tried out: UsageError where
/// wandb_follow.py is not found, or says that it could not work.
std::vector<std::string> wandb_command(const RunFolder& folder);

}  // namespace spikesink::cli
