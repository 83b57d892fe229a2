#pragma once
#include <bit>
#include <cstdint>

#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels::cuda {

/// Tokens in ascending order, and where each came from; equal tokens in the order of their positions.
struct SortedTokens {
  const std::int32_t *tokens, *positions;  // (N)
};

/// Sorts N < 2^31 tokens in [0, V) by a stable radix sort, all in `scratch`.
SortedTokens sort_tokens(const Stream& stream, const std::int32_t* tokens, std::int64_t N, std::int64_t V,
                         Scratch& scratch);

/// Its digits: as few as there can be of 9 bits, of equal size.
struct SortDigits {
  explicit SortDigits(std::int64_t V) {
    const int width = V > 1 ? std::bit_width(static_cast<std::uint64_t>(V - 1)) : 1;
    passes = (width + 8) / 9;
    bits = (width + passes - 1) / passes;
  }
  int passes, bits;
};

/// Tokens that a block sorts by a digit.
inline constexpr std::int64_t kSortTile = 2048;

inline std::int64_t sort_tokens_bytes(std::int64_t N, std::int64_t V) {
  const std::int64_t blocks = (N + kSortTile - 1) / kSortTile;
  return 4 * scratch_bytes<std::int32_t>(N) + scratch_bytes<std::int32_t>(blocks << SortDigits(V).bits);
}

}  // namespace spikesink::kernels::cuda
