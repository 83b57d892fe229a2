#include "data/lane_share.h"

#include <algorithm>

#include "data/draws.h"

namespace spikesink {
namespace {
__extension__ using Wide = unsigned __int128;  // bytes of all shards * lanes

std::uint64_t text_bytes(const Shard& shard) {
  constexpr std::uint64_t kUnpacked = 3;  // web text with zstd or gzip, see docs/data.md
  return shard.bytes * (shard.path.ends_with(".zst") || shard.path.ends_with(".gz") ? kUnpacked : 1);
}
}  // namespace

bool ShardPart::holds(std::int64_t line) const {
  constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15u;  // less 1, in 2^-64
  const double place = static_cast<double>((turn + number(line) * kGoldenRatio) >> 11) * 0x1.0p-53;
  return place >= from && place < to;
}

std::vector<ShardPart> share_of_lane(const std::vector<Shard>& shards, std::int64_t lanes, std::uint64_t seed,
                                     std::int64_t epoch, std::int64_t lane) {
  Wide piece = 0;  // lengths are in units of 1 / lanes bytes, so that cuts are whole numbers
  for (const Shard& shard : shards) piece += text_bytes(shard);
  const std::uint64_t turn = draws(seed, "data.piece_of_lane", number(epoch)).below(0, number(lanes));
  const Wide cut = piece * ((number(lane) + turn) % number(lanes)), next_cut = cut + piece;

  std::vector<ShardPart> share;
  Wide begin = 0;
  for (const std::int64_t i : permutation(draws(seed, "data.order", number(epoch)), std::ssize(shards))) {
    const Wide length = Wide{text_bytes(shards[number(i)])} * number(lanes), end = begin + length;
    // Of the lanes on both sides of a cut each computes the same place for it.
    const auto place = [&](Wide at) { return static_cast<double>(at - begin) / static_cast<double>(length); };
    if (begin < next_cut && end > cut)
      share.push_back({.shard = i,
                       .turn = draws(seed, "data.lane_of_document", number(epoch)).bits(number(i)).first,
                       .from = place(std::max(cut, begin)),
                       .to = place(std::min(next_cut, end))});
    begin = end;
  }
  return share;
}

}  // namespace spikesink
