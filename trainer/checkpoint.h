#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/failure.h"
#include "trainer/slice_file.h"

// A checkpoint is a folder step_00001000/ with an HDF5 file a rank (trainer/slice_file.h), rank_0000.h5, ..., which
// together hold every parameter's weights and moments, and state.json: step, tokens, the resolved config, the data's
// position, and the checksum of every file. It is written under another name and renamed when all of it is on the disk;
// `latest`, a link, moves last: as `latest.next` it leads to the checkpoint beforehand.
namespace spikesink {

/// What a checkpoint has is not what was written: a checksum, the JSON or a file that is not there. That it cannot be
/// read at the moment is another DataError.
struct DamageError : DataError {
  explicit DamageError(const std::string& what, const std::string& mend = "use an older checkpoint")
      : DataError(what + "; " + mend), damage(what) {}
  std::string damage;  ///< one line, without how to mend it
};

/// What a checkpoint holds besides tensors.
struct TrainingState {
  std::int64_t step = 0;     ///< optimizer steps behind it
  std::int64_t tokens = 0;   ///< input tokens behind it
  int world = 1;             ///< ranks that computed it and have a file each
  int threads = 0;           ///< of each: the last bits depend on their number
  std::int64_t skipped = 0;  ///< steps of the data that rollbacks have left out: step + skipped is the data's
  bool probe_owed = false;   ///< due at `step` and left out, since the run was asked to stop: to be made after a resume
  std::string config;        ///< the resolved config, YAML
  std::string position;      ///< of the data: Loader's, as JSON
};

/// The name of a rank's file in a checkpoint.
std::string rank_file(int rank);
/// What a checkpoint's folder is called until all of it is there.
std::string unfinished_name(const std::string& checkpoint);
/// Writes state.json beside the files of all ranks. `checksums`: CRC-32C of each. DataError.
void write_state(const std::string& folder, const TrainingState& state, std::span<const std::uint32_t> checksums);
/// Makes `unfinished`, which holds the files of all ranks, synced, the checkpoint `checkpoint`, to which `latest`
/// beside it then points; one of the same name goes away. `checksums`: CRC-32C of each rank's file. DataError leaves
/// the folder unfinished.
void finish_checkpoint(const std::string& checkpoint, const TrainingState& state,
                       std::span<const std::uint32_t> checksums);
/// The whole checkpoints in a folder of checkpoints: step and folder. DataError if it cannot be listed.
std::map<std::int64_t, std::string> whole_checkpoints(const std::string& folder);

/// The newest checkpoint in a folder of checkpoints: that of `latest.next`, after a kill just before it became
/// `latest`, unless somebody has made another `latest` since; or `latest`; or where that is missing, or its checkpoint
/// has no state.json, the whole one of the highest step; or nothing. DataError if `latest` leads elsewhere, or to the
/// only one, or if what is there cannot be told.
std::optional<std::string> latest_checkpoint(const std::string& folder);
/// Before a run goes on: a newest checkpoint that is whole, and that `latest` would have led to but for a kill, has it
/// lead there. DataError if it cannot.
void settle_latest(const std::string& folder);

/// A checkpoint that a run did not go on from.
struct PassedOver {
  std::string checkpoint;  ///< folder; empty: there is none
  std::string problem;     ///< one line
};
/// The checkpoint beside it that `latest` points to, if that is not whole.
std::optional<PassedOver> broken_latest(const std::string& folder);
/// Renames a checkpoint that is damaged, so that it is none any more and nothing of it is lost; its new name:
/// CHECKPOINT.damaged, or where an earlier one has that, .damaged.2 and so on. DataError if it cannot be renamed.
std::string set_aside(const std::string& checkpoint);
/// The same of a `latest` that is a folder, as copies make it that follow links; nothing if it is none. No link can
/// take its place.
std::optional<std::string> set_aside_latest(const std::string& folder);
/// Removes a checkpoint, which from the first moment on counts as unfinished. What cannot be removed stays.
void remove_checkpoint(const std::string& checkpoint);
/// Accepts a checkpoint's folder, a `checkpoints` folder or a run's folder. DataError if there is none.
std::string find_checkpoint(const std::string& path);

/// Reads state.json and verifies the checksums of the files of ranks `first`, `first` + `stride`, ...: of all, or a
/// rank's share. DataError names the file that is missing or does not fit, or says that the checkpoint is
/// gone, UsageError a format that is newer than this program.
TrainingState read_state(const std::string& checkpoint, int first = 0, int stride = 1);
/// The same without a look at the files of ranks.
TrainingState read_state_alone(const std::string& checkpoint);
/// The files of a checkpoint's ranks, which are all there.
std::vector<std::string> rank_files(const std::string& checkpoint);
/// require_weights() of the files of a checkpoint.
void require_weights(const std::string& checkpoint, const ParamSet& params);
/// load_slices() from the files of a checkpoint, of whatever world size.
void load_slices(const Stream& stream, const std::string& checkpoint, std::span<const StateSlice> slices);

}  // namespace spikesink
