#pragma once
#include "configs/config.h"
#include "trainer/dist/communicator.h"
#include "trainer/run_folder.h"

// Ranks that are started as one run must be one.
namespace spikesink::cli {

/// UsageError, the same on all ranks, where one was started with another config than rank 0: they would train different
/// models, and the run's folder would have rank 0's config. All ranks call.
void require_same_config_on_all_ranks(const Config& config, Communicator& ranks);

/// UsageError, the same on all ranks, where one does not see rank 0's folder: it would write its part of each
/// checkpoint elsewhere. All ranks call.
void require_one_folder(const RunFolder& folder, Communicator& ranks);

}  // namespace spikesink::cli
