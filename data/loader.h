#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "data/config.h"
#include "data/document.h"
#include "data/position.h"
#include "data/tokenizer.h"

namespace spikesink {

/// What a loader is made of. The tokenizer outlives it.
struct LoaderOptions {
  DataConfig data;
  const Tokenizer& tokenizer;
  std::int64_t context = 0;    ///< T, tokens that a sample moves on by
  std::int64_t sequences = 0;  ///< S, samples of a step, over all ranks
  std::uint64_t seed = 0;
  int threads = 2;  ///< that read and tokenise ahead
};

/// Deals the samples of training steps, read and tokenised ahead on background threads.
///
/// The samples of a step are a pure function of (data, seed, S, step): slot s of step b, 0 <= s < S, is a sample of one
/// of L = data.lanes lanes, whichever rank asks for it. If L divides S: lane s / (S/L), sample b * (S/L) + s mod (S/L),
/// so that ranks that share a step evenly keep apart lanes. Else with g = b * S + s: lane g mod L, sample g / L, so
/// that every lane is used also where S < L.
///
/// Only lanes of slots that are asked for are read. Memory: a lane has two windows of Lane::kWindow samples, the tokens
/// of the document being packed (4 bytes each, of a line of at most LineReader::kMaxLineBytes), and a LineReader. One
/// thread at a time may call.
class Loader {
 public:
  /// Finds the shards; starts no reading. DataError, UsageError as find_shards() and begin_token().
  explicit Loader(const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Samples (count, T+1) of slots first .. first+count-1 of a step (0-based). Steps are asked for in order, and slots
  /// within a step; either may be left out. A DataError that a thread met while reading comes up here.
  std::vector<std::int32_t> next(std::int64_t step, std::int64_t first, std::int64_t count);

  /// Where the data stands after all that next() has given: next(position().step, ...) goes on. A lane that was never
  /// asked for is put down where this loader began: going on from there is as exact, only slower.
  Position position() const;
  /// Goes to a position of a loader of the same data and settings, else DataError naming what differs, or what is
  /// damaged; the loader then stays where it was.
  void seek(const Position& position);

  /// Lines and documents read so far by this loader, again at every epoch.
  DocumentCounts counts() const;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace spikesink
