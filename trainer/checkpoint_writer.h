#pragma once
#include <functional>
#include <future>
#include <optional>
#include <span>
#include <string>

#include "trainer/checkpoint.h"
#include "trainer/config.h"
#include "trainer/dist/communicator.h"

namespace spikesink {

/// Writes checkpoints into `folder`, which all ranks see, in the background if `async`.
///
/// Each rank writes a file of its own on a thread that does not communicate. Once advance() has found that all files
/// are on the disk, rank 0 puts the checkpoint in place, on such a thread too. What went wrong on one rank is known to
/// all of them at the same advance(). Every rank makes the same calls of save(), advance() and wait().
///
/// A disk without room for all of it is seen before anything is written.
/// One checkpoint that could not be written is a problem() to be asked for; whichever call finds that the next one
/// could not be written either throws DataError.
class CheckpointWriter {
 public:
  /// `communicator` outlives the writer. Rank 0 calls `before_placing` on its thread before it puts a checkpoint in
  /// place, and `placed` with its step after; the checkpoint has failed if one of them throws.
  CheckpointWriter(std::string folder, const CheckpointConfig& config, Communicator& communicator,
                   std::function<void()> before_placing = {}, std::function<void(std::int64_t)> placed = {});
  /// Waits for the thread. A single rank finishes what it does; many leave an unfinished folder, unless they wait()ed.
  ~CheckpointWriter();

  enum class KeepOlder { kAsConfigured, kAll };  ///< checkpoint.keep of them, or all that there are

  /// Waits for the one before, copies the slices, in which all ranks together have the whole state, and begins to
  /// write. state.json has rank 0's `state`, with the communicator's world. Returns the seconds that this took.
  double save(const Stream& stream, std::span<const StateSlice> slices, TrainingState state,
              KeepOlder keep = KeepOlder::kAsConfigured);
  /// At the end of every step: sees how far the ranks are. Never waits for the disk; without a checkpoint under way
  /// there is no communication.
  void advance();
  /// What went wrong with the newest checkpoint that failed, if it was not asked for before; the same on all ranks.
  std::optional<std::string> problem();
  /// Would problem() say something?
  bool has_problem() const { return problem_.has_value(); }
  /// Until the one under way is in place, or problem() tells why not. As advance() besides.
  void finish();
  /// Until the last one is in place. DataError if it could not be written, unless that was asked for; older ones are
  /// whole.
  void wait();

 private:
  enum class Phase { kIdle, kWriting, kPlacing };
  void begin(void (CheckpointWriter::*work)());
  void write_file();
  void put_in_place();
  void fail();

  std::string folder_;
  CheckpointConfig config_;
  Communicator& communicator_;
  const int rank_;
  const std::function<void()> before_placing_;
  const std::function<void(std::int64_t)> placed_;
  HostCopy copy_;  // memory is kept for the next one
  std::optional<std::string> problem_;
  bool last_failed_ = false;  // the last one that ended; the same on all ranks

  // Of the checkpoint under way. The phase is the same on all ranks; a rank's part in it is `work_`, if it has one.
  Phase phase_ = Phase::kIdle;
  TrainingState state_;
  KeepOlder keep_ = KeepOlder::kAsConfigured;
  std::int64_t needed_ = 0, free_ = 0;            // bytes: of all ranks' values, and of the disk when it began
  std::future<std::optional<std::string>> work_;  // gives what went wrong
  std::optional<std::string> failure_;            // of the work, when it is done
  std::uint32_t checksum_ = 0;                    // of this rank's file, when it is written
  std::vector<std::uint32_t> checksums_;          // by rank, when all are
};

}  // namespace spikesink
