#pragma once
#include <cstdint>
#include <span>

#include "io/checksum.h"

namespace spikesink {

/// A sum over sequences of the CRC-32C of each one's slot and tokens: whoever takes them, the sum over ranks tells
/// whether a step had the same samples.
inline std::uint32_t identity_of(std::span<const std::int32_t> samples, std::int64_t first, std::int64_t count) {
  std::uint32_t sum = 0;
  for (std::int64_t slot = first; slot < first + count; ++slot) {
    const std::size_t row = samples.size() / static_cast<std::size_t>(count);
    const auto tokens = samples.subspan(static_cast<std::size_t>(slot - first) * row, row);
    sum += crc32c(std::as_bytes(tokens), crc32c(std::as_bytes(std::span(&slot, 1))));
  }
  return sum;
}

}  // namespace spikesink
