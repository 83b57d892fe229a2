#pragma once
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "models/param.h"
#include "trainer/config.h"
#include "trainer/optimizer.h"

// A checkpoint is a folder step_00001000/ with an HDF5 file a rank, rank_0000.h5: weights/NAME, m/NAME, v/NAME for
// every parameter (Hugging Face's name and shape), and state.json: step, tokens, the resolved config, the data's
// position, and the checksum of every file. It is written under another name and renamed when all of it is on the disk;
// `latest`, a link, moves last.
namespace spikesink {

/// What a checkpoint holds besides tensors.
struct TrainingState {
  std::int64_t step = 0;    ///< optimizer steps behind it
  std::int64_t tokens = 0;  ///< input tokens behind it
  int threads = 0;          ///< that computed it: the last bits depend on their number
  std::string config;       ///< the resolved config, YAML
  std::string position;     ///< of the data: Loader's, as JSON
};

/// Host memory that the copy of a checkpoint's tensors takes while it is written.
std::int64_t checkpoint_bytes(const Optimizer& optimizer);

/// Writes checkpoints into `folder`, in the background if `async`: save() copies the state and returns.
class CheckpointWriter {
 public:
  CheckpointWriter(std::string folder, const CheckpointConfig& config);
  ~CheckpointWriter();  ///< waits; an error is lost: call wait() first

  /// What went wrong with a checkpoint that was written in the background since the last call, or nothing.
  std::optional<std::string> problem();
  /// Waits for the one before, and throws what went wrong with it.
  void save(const Stream& stream, const ParamSet& params, const Optimizer& optimizer, const TrainingState& state);
  /// Until the last one is on the disk. DataError if it could not be written; older ones are whole.
  void wait();

 private:
  struct Snapshot;
  void write(const Snapshot& snapshot) const;
  std::string folder_;
  CheckpointConfig config_;
  std::shared_ptr<Snapshot> snapshot_;  // memory is kept for the next one
  std::future<void> writing_;
};

/// The newest checkpoint in a folder of checkpoints: `latest`, or where that is missing the whole one of the highest
/// step; or nothing.
std::optional<std::string> latest_checkpoint(const std::string& folder);
/// Takes back the checkpoints after `step`, which is resumed from; -1: all.
void remove_checkpoints_after(const std::string& folder, std::int64_t step);
/// Accepts a checkpoint's folder, a `checkpoints` folder or a run's folder. DataError if there is none.
std::string find_checkpoint(const std::string& path);
/// Reads state.json and verifies the checksums of the checkpoint's files. DataError names the file that does not fit.
TrainingState read_state(const std::string& checkpoint);
/// Reads weights, and moments if `optimizer` is given, rounded to the dtype that each is wanted in. DataError names the
/// parameter that is missing or of another shape.
void load_tensors(const Stream& stream, const std::string& checkpoint, ParamSet& params, Optimizer* optimizer);

}  // namespace spikesink
