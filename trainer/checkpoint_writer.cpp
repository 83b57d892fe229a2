#include "trainer/checkpoint_writer.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>

#include "io/checksum.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "trainer/dist/agree.h"
#include "trainer/fit.h"
#include "trainer/run_folder.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {
using Clock = std::chrono::steady_clock;

// What files take beside the values: at most this share of them, and the rest.
constexpr std::int64_t kOverheadShare = 64, kOverhead = 1 << 20;

enum class Status : std::uint8_t { kBusy, kDone, kFailed };

/// Of the file system that a folder is on; where that is not known, as much as there can be.
std::int64_t free_bytes(const std::string& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  return error ? kMost : static_cast<std::int64_t>(std::min<std::uintmax_t>(space.available, kMost));
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string folder, const CheckpointConfig& config, Communicator& communicator,
                                   std::function<void()> before_placing, std::function<void(std::int64_t)> placed)
    : folder_(std::move(folder)),
      config_(config),
      communicator_(communicator),
      rank_(communicator.rank()),
      before_placing_(std::move(before_placing)),
      placed_(std::move(placed)) {}

CheckpointWriter::~CheckpointWriter() {
  if (work_.valid()) work_.wait();
  if (communicator_.world() > 1) return;
  try {
    finish();
  } catch (...) {  // told by wait(), for those who ask
  }
}

double CheckpointWriter::save(const Stream& stream, std::span<const StateSlice> slices, TrainingState state,
                              KeepOlder keep) {
  const auto start = Clock::now();
  finish();
  needed_ = 0;
  for (const std::int64_t bytes : gather(communicator_, checkpoint_bytes(slices))) needed_ += bytes;
  free_ = gather(communicator_, free_bytes(folder_))[0];  // before any rank begins to write
  copy_.take(stream, slices);
  state_ = std::move(state);
  keep_ = keep;
  state_.world = communicator_.world();
  phase_ = Phase::kWriting;
  begin(&CheckpointWriter::write_file);
  if (!config_.async) finish();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void CheckpointWriter::advance() {
  if (phase_ == Phase::kIdle) return;
  if (work_.valid() && work_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) failure_ = work_.get();
  const auto statuses = gather(communicator_, work_.valid() ? Status::kBusy
                                              : failure_    ? Status::kFailed
                                                            : Status::kDone);
  if (std::ranges::count(statuses, Status::kBusy) > 0) return;
  if (std::ranges::count(statuses, Status::kFailed) > 0) return fail();
  if (phase_ == Phase::kPlacing) {
    phase_ = Phase::kIdle;
    last_failed_ = false;
    return;
  }
  checksums_ = gather(communicator_, checksum_);
  phase_ = Phase::kPlacing;
  if (rank_ == 0) begin(&CheckpointWriter::put_in_place);
}

std::optional<std::string> CheckpointWriter::problem() { return std::exchange(problem_, std::nullopt); }

void CheckpointWriter::finish() {
  // Looks again and again, since a rank that waits for its disk in silence would be taken for dead.
  while (phase_ != Phase::kIdle) {
    if (work_.valid()) work_.wait_for(std::chrono::milliseconds(20));
    advance();
  }
}

void CheckpointWriter::wait() {
  finish();
  if (last_failed_ && problem_) throw DataError(*problem());
}

void CheckpointWriter::begin(void (CheckpointWriter::*work)()) {
  failure_.reset();
  work_ = std::async(std::launch::async, [this, work]() -> std::optional<std::string> {
    try {
      (this->*work)();
      return std::nullopt;
    } catch (const Failure& failure) {
      return failure.what();
    }
  });
}

void CheckpointWriter::write_file() {
  if (const std::int64_t needed = needed_ + needed_ / kOverheadShare + kOverhead; free_ < needed)
    throw DataError(
        fmt::format("{}: has no room for a checkpoint: {} are free, it takes {}; free some space, or remove an "
                    "older step_ folder there",
                    folder_, bytes_text(free_), bytes_text(needed)));
  const std::string unfinished = unfinished_name(folder_ + "/" + RunFolder::step_name(state_.step));
  std::error_code error;
  if (fs::create_directories(unfinished, error); error) throw file_error(unfinished, "made", error.value());
  const std::string file = unfinished + "/" + rank_file(rank_);
  copy_.write(file);
  FileDescriptor::open(file, O_RDONLY).sync();
  checksum_ = crc32c_of_file(file);
}

void CheckpointWriter::put_in_place() {
  if (before_placing_) before_placing_();
  finish_checkpoint(folder_ + "/" + RunFolder::step_name(state_.step), state_, checksums_);
  if (placed_) placed_(state_.step);
  std::map<std::int64_t, std::string> older = whole_checkpoints(folder_);
  older.erase(state_.step);  // `latest` points to it
  while (keep_ == KeepOlder::kAsConfigured && config_.keep > 0 &&
         static_cast<std::int64_t>(older.size()) >= config_.keep) {
    remove_checkpoint(older.begin()->second);
    older.erase(older.begin());
  }
}

void CheckpointWriter::fail() {
  if (rank_ == 0) {  // before the exchange: after it others may write to this folder again
    std::error_code error;
    fs::remove_all(unfinished_name(folder_ + "/" + RunFolder::step_name(state_.step)), error);
  }
  const std::vector<std::string> texts = gather_texts(communicator_, failure_.value_or(""));
  problem_ = *std::ranges::find_if_not(texts, &std::string::empty);
  phase_ = Phase::kIdle;
  if (std::exchange(last_failed_, true)) throw DataError(*problem());
}

}  // namespace spikesink
