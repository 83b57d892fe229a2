#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/failure.h"

namespace spikesink {

/// Where a lane's next window of samples begins: the place of its first token.
struct LaneState {
  std::int64_t epoch = 0;
  std::int64_t shard = 0;   ///< index into the lane's share of the epoch, not into the shards
  std::int64_t line = 0;    ///< 0-based, in the shard
  std::int64_t token = 0;   ///< tokens of that line's document that lie before
  std::int64_t window = 0;  ///< number of the window

  bool operator==(const LaneState&) const = default;
};

/// Config key or word -> value, of all that decides which samples a step has.
using Fingerprint = std::map<std::string, std::string>;

/// The first thing in which data is not what it was, or not what someone else has.
struct DataDifference {
  std::string what;       ///< the beginning of a sentence: "run.seed:", to go on with "is 2"
  std::string then, now;  ///< its value
};

/// Where a run stands in its data: enough to go on with exactly the samples that would have come.
struct Position {
  std::int64_t step = 0;  ///< steps taken; the next to be asked for, 0-based
  Fingerprint fingerprint;
  std::vector<LaneState> lanes;

  bool operator==(const Position&) const = default;
  std::string to_json() const;
  /// DataError if the text is not what to_json() gives, or is of a version that dealt documents to lanes otherwise.
  static Position from_json(const std::string& text);
};

/// Where the data stands after all that several loaders of it have given, each of which was asked for its part of the
/// same steps: of every lane the position of the one that is furthest in it.
Position furthest(const std::vector<Position>& positions);

/// A position that is not one of the data which its fingerprint names.
struct DamagedPosition : DataError {
  using DataError::DataError;
};
/// DamagedPosition saying what is wrong with a checkpoint's position, in a few words: `what`.
[[noreturn]] void damaged_position(const std::string& what);

/// DamagedPosition unless the samples of `step`, `sequences` a step, can be numbered.
void require_step(std::int64_t step, std::int64_t sequences);

/// Tokenizer::name() of the one that tokenised what is behind a position, as to_json() gives it; nothing where none
/// did, as in an imported checkpoint, or it does not say.
std::optional<std::string> tokenizer_of_position(const std::string& text);

/// The first key in which they differ, if they do.
std::optional<DataDifference> difference(const Fingerprint& then, const Fingerprint& now);
/// DataError naming the first key in which the data of a position, or of another time, differs from that of this run.
void require_same_data(const Fingerprint& then, const Fingerprint& now);

}  // namespace spikesink
