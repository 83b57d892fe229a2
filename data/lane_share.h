#pragma once
#include <cstdint>
#include <vector>

#include "data/shards.h"

namespace spikesink {

/// A shard, or those of its lines that one lane takes: line d stands at place frac(turn + d * golden ratio) of [0, 1),
/// so that an interval of places has its share of any run of lines, to a few. Source: Weyl's equidistribution.
struct ShardPart {
  std::int64_t shard = 0;  ///< index into all shards
  std::uint64_t turn = 0;  ///< in 2^-64
  double from = 0, to = 1;

  bool whole() const { return from == 0 && to == 1; }
  bool holds(std::int64_t line) const;
};

/// What a lane reads in an epoch, in this order. The shards are laid end to end in an order drawn for the epoch, each
/// as long as its text, and cut into `lanes` pieces of one length; lane l takes piece (l + a number drawn for the
/// epoch) mod lanes. A shard that a cut goes through is shared line by line. So in each epoch every line of every shard
/// is one lane's, all lanes have as much text, and over all of them no more than (shards + lanes - 1) shards are read.
///
/// The text is not known before it is read: it counts as 3 bytes a byte of a packed file. A pure function of (sizes and
/// kinds of the shards, lanes, seed, epoch, lane), in O(shards).
std::vector<ShardPart> share_of_lane(const std::vector<Shard>& shards, std::int64_t lanes, std::uint64_t seed,
                                     std::int64_t epoch, std::int64_t lane);

}  // namespace spikesink
