#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "data/position.h"
#include "trainer/checkpoint.h"
#include "trainer/dist/communicator.h"
#include "trainer/run_folder.h"

namespace spikesink {

/// The checkpoint that a run goes on from.
struct ResumePoint {
  std::string checkpoint;  ///< folder
  TrainingState state;
  std::vector<PassedOver> passed_over = {};  ///< newer ones
  std::vector<std::string> changes = {};     ///< of the config since, for the log
  std::int64_t logged_every = 0;             ///< steps between its run's lines of metrics.jsonl; 0: none, or not known
};

/// Where the data of a checkpoint stands: `skipped` steps beyond its own. DamageError if it does not.
Position data_position(const ResumePoint& point);

/// The newest sound checkpoint of a run, of a step below `before`, if it has any. All ranks call: rank 0 finds them,
/// and each verifies the checksums of its share of the files, and goes to its place in the data by `go_to`, if given,
/// which throws DamagedPosition where there is none. DataError, the same on all ranks, naming the newest if all are
/// damaged, or what cannot be read, which is not taken for damage.
std::optional<ResumePoint> newest_resume_point(const RunFolder& folder, Communicator& ranks,
                                               std::int64_t before = std::numeric_limits<std::int64_t>::max(),
                                               const std::function<void(const Position&)>& go_to = {});

/// Lines for the log of a run that goes on from `point` with so many ranks and threads of each: what has changed.
std::vector<std::string> about(const ResumePoint& point, int world, int threads);

/// Before a run goes on from `point`, by rank 0: keeps damaged newer checkpoints aside, and a `latest` that is a
/// folder, and takes back sound newer ones, with a line to `say` for each. DataError if one cannot be kept.
void clear_the_way(const RunFolder& folder, const ResumePoint& point,
                   const std::function<void(const std::string&)>& say);

/// A run without a checkpoint is to start at step 0, which takes back all that it has measured. DataError if it has had
/// a checkpoint: its folder says so, something of one is there, or it has measured more steps than it can make without
/// one, with `every_steps` between them by the config that measured them: hence the folder has that until they are
/// taken back.
void require_never_saved(const RunFolder& folder, std::int64_t every_steps);

}  // namespace spikesink
