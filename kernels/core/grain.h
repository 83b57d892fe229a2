#pragma once
#include <algorithm>
#include <cstdint>

namespace spikesink::kernels::cpu {

/// Elements of light work that pay for a thread of their own: some microseconds, as waking it takes.
constexpr std::int64_t kGrain = 16384;

/// The same in rows of `width` elements.
constexpr std::int64_t row_grain(std::int64_t width) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width));
}

}  // namespace spikesink::kernels::cpu
