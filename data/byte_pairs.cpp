#include "data/byte_pairs.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include "kernels/core/check.h"

namespace spikesink {
namespace {

/// Up to here a scan over all pairs for each merge is faster than a heap.
constexpr std::size_t kShort = 96;
constexpr std::int32_t kNoMerge = std::numeric_limits<std::int32_t>::max();

std::int32_t rank_or_none(const RankTable& ranks, std::string_view bytes) {
  const std::int32_t rank = ranks.find(bytes);
  return rank == RankTable::kNone ? kNoMerge : rank;
}

std::int32_t id_of_part(const RankTable& ranks, std::string_view bytes) {
  const std::int32_t rank = ranks.find(bytes);
  require(rank != RankTable::kNone, "byte pairs: byte ", static_cast<int>(static_cast<unsigned char>(bytes[0])),
          " is no token");
  return rank;
}

void merge_short(const RankTable& ranks, std::string_view piece, std::vector<std::int32_t>& ids) {
  struct Part {
    std::uint32_t begin;
    std::int32_t merged;  ///< rank of this part and the next as one
  };
  std::array<Part, kShort + 1> parts;
  std::size_t n = piece.size();
  for (std::size_t i = 0; i < n; ++i)
    parts[i] = {static_cast<std::uint32_t>(i), i + 1 < n ? rank_or_none(ranks, piece.substr(i, 2)) : kNoMerge};
  parts[n] = {static_cast<std::uint32_t>(n), kNoMerge};
  // Of the part i and the one after the next, which is about to be joined to one of them.
  const auto joined = [&](std::size_t i) {
    return i + 3 > n ? kNoMerge
                     : rank_or_none(ranks, piece.substr(parts[i].begin, parts[i + 3].begin - parts[i].begin));
  };
  while (true) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < n; ++i)
      if (parts[i].merged < parts[best].merged) best = i;
    if (parts[best].merged == kNoMerge) break;
    if (best > 0) parts[best - 1].merged = joined(best - 1);
    parts[best].merged = joined(best);
    std::copy(parts.begin() + static_cast<std::ptrdiff_t>(best) + 2, parts.begin() + static_cast<std::ptrdiff_t>(n) + 1,
              parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    --n;
  }
  for (std::size_t i = 0; i < n; ++i)
    ids.push_back(id_of_part(ranks, piece.substr(parts[i].begin, parts[i + 1].begin - parts[i].begin)));
}

void merge_long(const RankTable& ranks, std::string_view piece, std::vector<std::int32_t>& ids) {
  const std::size_t size = piece.size();
  require(size < kNoMerge, "byte pairs: a piece of ", size, " bytes, expected less than 2 GiB");
  // Parts by the byte that they begin at. A part that was merged into another has no merge of its own any more.
  struct Part {
    std::uint32_t previous, next;
    std::int32_t merged;
  };
  std::vector<Part> parts(size + 1);
  std::vector<std::uint64_t> heap;  // rank, then begin: the lowest is the next to merge, unless it has changed since
  const auto set_merged = [&](std::size_t begin) {
    Part& part = parts[begin];
    const std::size_t end = part.next == size ? size : parts[part.next].next;
    part.merged = part.next == size ? kNoMerge : rank_or_none(ranks, piece.substr(begin, end - begin));
    return part.merged != kNoMerge;
  };
  const auto entry = [&](std::size_t begin) {
    return static_cast<std::uint64_t>(parts[begin].merged) << 32 | static_cast<std::uint64_t>(begin);
  };
  for (std::size_t i = 0; i <= size; ++i)
    parts[i] = {static_cast<std::uint32_t>(i) - 1, static_cast<std::uint32_t>(i) + 1, kNoMerge};
  for (std::size_t i = 0; i < size; ++i)
    if (set_merged(i)) heap.push_back(entry(i));
  std::ranges::make_heap(heap, std::greater());
  const auto renew = [&](std::size_t begin) {
    if (!set_merged(begin)) return;
    heap.push_back(entry(begin));
    std::ranges::push_heap(heap, std::greater());
  };
  while (!heap.empty()) {
    const std::uint64_t least = heap.front();
    std::ranges::pop_heap(heap, std::greater());
    heap.pop_back();
    const auto begin = static_cast<std::uint32_t>(least);
    if (parts[begin].merged == kNoMerge || entry(begin) != least) continue;
    const std::uint32_t gone = parts[begin].next;
    parts[begin].next = parts[gone].next;
    parts[gone].merged = kNoMerge;
    parts[parts[begin].next].previous = begin;
    renew(begin);
    if (begin > 0) renew(parts[begin].previous);
  }
  for (std::size_t begin = 0; begin < size; begin = parts[begin].next)
    ids.push_back(id_of_part(ranks, piece.substr(begin, parts[begin].next - begin)));
}

}  // namespace

void encode_piece(const RankTable& ranks, std::string_view piece, std::vector<std::int32_t>& ids) {
  if (const std::int32_t rank = ranks.find(piece); rank != RankTable::kNone)
    ids.push_back(rank);
  else if (piece.size() <= kShort)
    merge_short(ranks, piece, ids);
  else
    merge_long(ranks, piece, ids);
}

}  // namespace spikesink
