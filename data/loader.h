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

/// Deals the samples of training steps, made ready ahead on background threads. The samples of a step are a pure
/// function of (data, seed, S, step), whichever rank asks for them: of a token store see StoreLoader, of shards that
/// are tokenised as they are read StreamLoader. One thread at a time may call.
class Loader {
 public:
  virtual ~Loader() = default;

  /// Samples (count, T+1) of slots first .. first+count-1 of a step (0-based). Steps are asked for in order, and slots
  /// within a step; either may be left out. A DataError that a thread met while reading comes up here.
  virtual std::vector<std::int32_t> next(std::int64_t step, std::int64_t first, std::int64_t count) = 0;
  /// Where the data stands after all that next() has given: next(position().step, ...) goes on.
  virtual Position position() const = 0;
  /// Goes to a position of a loader of the same data and settings, else DataError naming what differs, or what is
  /// damaged; the loader then stays where it was.
  virtual void seek(const Position& position) = 0;
  /// Lines and documents read so far by this loader, again at every epoch; none where they were read before.
  virtual DocumentCounts counts() const = 0;
  /// Seconds that calls of next() stood still so far because what they asked for was not ready.
  virtual double waited_seconds() const = 0;
};

/// What the samples of any loader depend on, but for the data itself.
Fingerprint fingerprint_of_settings(const LoaderOptions& options);

/// By what data.train names: token stores, shards, or the toy task bigram_backcopy. DataError as these; UsageError for
/// stores beside shards.
std::unique_ptr<Loader> make_loader(const LoaderOptions& options);

}  // namespace spikesink
