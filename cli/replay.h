#pragma once
#include <cstdint>

#include "trainer/trainer.h"

namespace spikesink::cli {

/// UsageError unless the folder has a run.
void require_run(const RunFolder& folder);
/// Runs a step of the job's run again (trainer/replay.h) on all ranks; rank 0 writes RUN/replays/step_00000123.json and
/// prints what is worth a look.
void print_replay(const TrainJob& job, std::int64_t step);

}  // namespace spikesink::cli
