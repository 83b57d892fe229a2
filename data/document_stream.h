#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "data/document.h"
#include "data/shards.h"

namespace spikesink {

/// A document of a shard.
struct ShardDocument {
  const Shard& shard;
  std::int64_t line;  ///< 1-based
  std::string_view text;
};

/// What a visit says of the way on.
enum class Onward { kNextDocument, kNextShard, kStop };

/// Calls `visit` with every document of the shards in order; it may leave a shard, or stop. Broken lines are counted
/// and judged by the tally; exactly at the end, if it left none.
void for_each_document(const std::vector<Shard>& shards, DocumentTally& tally,
                       const std::function<Onward(const ShardDocument&)>& visit);

/// Shares out an amount evenly over shards that are visited in order; what small ones leave goes to those that follow.
class EvenShares {
 public:
  EvenShares(std::int64_t amount, std::size_t shards)
      : left_(amount), shards_left_(static_cast<std::int64_t>(shards)) {}

  /// Takes up to `wanted` from the shard's part; returns how much.
  std::int64_t take(const Shard& shard, std::int64_t wanted);
  /// Whether the part of the shard last taken from is not used up.
  Onward onward() const { return left_here_ > 0 ? Onward::kNextDocument : Onward::kNextShard; }

 private:
  const Shard* current_ = nullptr;
  std::int64_t left_;  // for the shards that follow
  std::int64_t shards_left_;
  std::int64_t left_here_ = 0;
};

}  // namespace spikesink
