#pragma once
#include <cstdint>
#include <optional>

#include "configs/config.h"
#include "data/loader.h"
#include "trainer/dist/communicator.h"
#include "trainer/resume_point.h"
#include "trainer/run_folder.h"

namespace spikesink::cli {

/// The checkpoint that --resume goes on from, with what has changed of the config since; nothing: there never was one.
/// UsageError where that would change what was trained on, or the config ends before it; DataError where all are
/// damaged or lost. All ranks call.
std::optional<ResumePoint> find_resume_point(const RunFolder& folder, const Config& config, Loader& loader,
                                             Communicator& ranks);

/// The newest checkpoint before a step that --replay is to show again, printing what has changed since; nothing: it is
/// reached from the start. UsageError where the run has no such step, or was trained on other samples. All ranks call.
std::optional<ResumePoint> checkpoint_before(std::int64_t step, const RunFolder& folder, const Config& config,
                                             Loader& loader, Communicator& ranks);

}  // namespace spikesink::cli
