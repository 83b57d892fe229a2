#pragma once
#include <cstdint>

#include "trainer/trainer.h"

namespace spikesink::cli {

/// UsageError unless the folder has a run, and one rank is to see a step of it again.
void require_replay(const RunFolder& folder, int world);
/// Runs a step of the job's run again (trainer/replay.h), writes RUN/replays/step_00000123.json and prints what is
/// worth a look.
void print_replay(const TrainJob& job, std::int64_t step);

}  // namespace spikesink::cli
