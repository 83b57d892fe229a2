#pragma once
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint.h"
#include "trainer/dist/communicator.h"
#include "trainer/run_folder.h"

namespace spikesink {

/// The checkpoint that a run goes on from.
struct ResumePoint {
  std::string checkpoint;  ///< folder
  TrainingState state;
  std::vector<std::string> damaged = {};  ///< of newer checkpoints, what is wrong with them
  std::vector<std::string> changes = {};  ///< of the config since, for the log
};

/// The newest checkpoint of a run, if it has one. All ranks call: rank 0 finds it, and each verifies the checksums of
/// its share of the files. DataError, the same on all ranks, if one of them is damaged.
std::optional<ResumePoint> newest_resume_point(const RunFolder& folder, Communicator& ranks);

}  // namespace spikesink
