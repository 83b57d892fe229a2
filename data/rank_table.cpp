#include "data/rank_table.h"

#include <algorithm>
#include <bit>

#include "kernels/core/check.h"

namespace spikesink {

RankTable::RankTable(const std::vector<Token>& tokens) {
  of_byte_.fill(kNone);
  std::int32_t highest = kNone;
  for (const Token& token : tokens) highest = std::max(highest, token.rank);
  places_.resize(static_cast<std::size_t>(std::int64_t{highest} + 1));
  slots_.resize(std::bit_ceil(2 * tokens.size() + 2));
  mask_ = slots_.size() - 1;
  for (const auto& [bytes, rank] : tokens) {
    require(rank >= 0 && rank < kMostTokens, "rank table: rank ", rank, ", expected below ", kMostTokens);
    require(!bytes.empty() && bytes_of(rank).empty() && find(bytes) == kNone, "rank table: the token of rank ", rank,
            " is empty or comes twice");
    places_[static_cast<std::size_t>(rank)] = {static_cast<std::uint32_t>(bytes_.size()),
                                               static_cast<std::uint32_t>(bytes.size())};
    bytes_ += bytes;
    longest_ = std::max(longest_, bytes.size());
    if (bytes.size() == 1) {
      of_byte_[static_cast<unsigned char>(bytes[0])] = rank;
      continue;
    }
    const std::uint64_t hashed = hash(bytes);
    std::size_t at = hashed & mask_;
    while (slots_[at].rank != kNone) at = (at + 1) & mask_;
    slots_[at] = {static_cast<std::uint32_t>(hashed >> 32), rank};
  }
}

}  // namespace spikesink
