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

/// What is merged, and in which order: each token has a priority, the lowest the first.
template <class Priority>
struct Merges {
  const RankTable& ranks;
  Priority priority;  ///< of the token of a rank
  std::int32_t of(std::string_view bytes) const {
    const std::int32_t rank = ranks.find(bytes);
    return rank == RankTable::kNone ? kNoMerge : priority(rank);
  }
};

/// Bytes of the character that starts with this byte.
std::size_t size_of_character(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

template <bool kCharacters>
std::size_t size_of_unit(char first) {
  return kCharacters ? size_of_character(first) : 1;
}

template <bool kCharacters>
void merge_short(const auto& merges, std::string_view piece, const auto& use) {
  struct Part {
    std::uint32_t begin;
    std::int32_t merged;  ///< priority of this part and the next as one
  };
  std::array<Part, kShort + 1> parts;
  std::size_t n = 0;
  for (std::size_t at = 0; at < piece.size(); at += size_of_unit<kCharacters>(piece[at]))
    parts[n++] = {static_cast<std::uint32_t>(at), kNoMerge};
  parts[n] = {static_cast<std::uint32_t>(piece.size()), kNoMerge};
  for (std::size_t i = 0; i + 1 < n; ++i)
    parts[i].merged = merges.of(piece.substr(parts[i].begin, parts[i + 2].begin - parts[i].begin));
  // Of the part i and the one after the next, which is about to be joined to one of them.
  const auto joined = [&](std::size_t i) {
    return i + 3 > n ? kNoMerge : merges.of(piece.substr(parts[i].begin, parts[i + 3].begin - parts[i].begin));
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
  for (std::size_t i = 0; i < n; ++i) {
    const std::string_view part = piece.substr(parts[i].begin, parts[i + 1].begin - parts[i].begin);
    use(part, merges.ranks.find(part));
  }
}

template <bool kCharacters>
void merge_long(const auto& merges, std::string_view piece, const auto& use) {
  const std::size_t size = piece.size();
  require(size < kNoMerge, "byte pairs: a piece of ", size, " bytes, expected less than 2 GiB");
  // Parts by the byte that they begin at. A part that was merged into another has no merge of its own any more.
  struct Part {
    std::uint32_t previous, next;
    std::int32_t merged;
  };
  std::vector<Part> parts(size + 1);
  // Priority, then begin: the lowest is the next to merge, unless it has changed since.
  std::vector<std::uint64_t> heap;
  const auto set_merged = [&](std::size_t begin) {
    Part& part = parts[begin];
    const std::size_t end = part.next == size ? size : parts[part.next].next;
    part.merged = part.next == size ? kNoMerge : merges.of(piece.substr(begin, end - begin));
    return part.merged != kNoMerge;
  };
  const auto entry = [&](std::size_t begin) {
    return static_cast<std::uint64_t>(parts[begin].merged) << 32 | static_cast<std::uint64_t>(begin);
  };
  std::uint32_t before = 0;
  for (std::size_t at = 0; at < size; at = parts[at].next) {
    parts[at] = {before, static_cast<std::uint32_t>(at + size_of_unit<kCharacters>(piece[at])), kNoMerge};
    before = static_cast<std::uint32_t>(at);
  }
  for (std::size_t at = 0; at < size; at = parts[at].next)
    if (set_merged(at)) heap.push_back(entry(at));
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
  for (std::size_t begin = 0; begin < size; begin = parts[begin].next) {
    const std::string_view part = piece.substr(begin, parts[begin].next - begin);
    use(part, merges.ranks.find(part));
  }
}

template <bool kCharacters>
void merge(const auto& merges, std::string_view piece, const auto& use) {
  if (piece.size() <= kShort)
    merge_short<kCharacters>(merges, piece, use);
  else
    merge_long<kCharacters>(merges, piece, use);
}

}  // namespace

void encode_piece(const RankTable& ranks, std::string_view piece, std::vector<std::int32_t>& ids) {
  if (const std::int32_t rank = ranks.find(piece); rank != RankTable::kNone) return ids.push_back(rank);
  const auto by_rank = [](std::int32_t rank) { return rank; };
  merge<false>(Merges<decltype(by_rank)>{ranks, by_rank}, piece, [&](std::string_view part, std::int32_t rank) {
    require(rank != RankTable::kNone, "byte pairs: byte ", static_cast<int>(static_cast<unsigned char>(part[0])),
            " is no token");
    ids.push_back(rank);
  });
}

void merge_characters(const RankTable& ranks, std::span<const std::int32_t> priorities, std::string_view text,
                      const std::function<void(std::string_view, std::int32_t)>& use) {
  const auto by_rank = [&](std::int32_t rank) { return priorities[static_cast<std::size_t>(rank)]; };
  merge<true>(Merges<decltype(by_rank)>{ranks, by_rank}, text, use);
}

}  // namespace spikesink
