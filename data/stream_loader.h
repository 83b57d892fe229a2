#pragma once
#include <memory>

#include "data/loader.h"

namespace spikesink {

/// Reads and tokenises shards as they are asked for, ahead. Slot s of step b, 0 <= s < S, is a sample of one of
/// L = data.lanes lanes. If L divides S: lane s / (S/L), sample b * (S/L) + s mod (S/L), so that ranks that share a
/// step evenly keep apart lanes. Else with g = b * S + s: lane g mod L, sample g / L, so that every lane is used also
/// where S < L.
///
/// Only lanes of slots that are asked for are read, each by one thread at a time. What is ahead is enough for
/// kAheadSteps steps like the last, in kAheadBytes at most; but enough for one step, and a window a lane, in any case.
///
/// Memory: that, and of each lane the window of Lane::kWindow samples that is being dealt, the tokens of the document
/// being packed (4 bytes each, of a line of at most LineReader::kMaxLineBytes), and a LineReader.
class StreamLoader final : public Loader {
 public:
  static constexpr std::int64_t kAheadSteps = 16;
  static constexpr std::int64_t kAheadBytes = std::int64_t{64} << 20;

  /// Finds the shards; starts no reading. DataError, UsageError as find_shards() and begin_token().
  explicit StreamLoader(const LoaderOptions& options);
  ~StreamLoader() override;
  StreamLoader(const StreamLoader&) = delete;
  StreamLoader& operator=(const StreamLoader&) = delete;

  std::vector<std::int32_t> next(std::int64_t step, std::int64_t first, std::int64_t count) override;
  /// A lane that was never asked for is put down where this loader began: going on from there is as exact, only slower.
  Position position() const override;
  void seek(const Position& position) override;
  DocumentCounts counts() const override;
  double waited_seconds() const override;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace spikesink
