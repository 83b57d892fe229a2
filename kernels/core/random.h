#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

#include "kernels/core/math.h"

namespace spikesink {

struct PhiloxKey {
  std::uint32_t k0, k1;
};
struct PhiloxWords {
  std::uint32_t w0, w1, w2, w3;
  bool operator==(const PhiloxWords&) const = default;
};

/// Philox4x32-10: a counter-based generator. The value of (key, counter) is a pure function, so that draws do not
/// depend on order, threads, device or world size. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1,
/// 2, 3".
SPIKESINK_HD constexpr PhiloxWords philox(PhiloxKey key, PhiloxWords counter) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter.w0;
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter.w2;
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter.w1 ^ key.k0, static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter.w3 ^ key.k1, static_cast<std::uint32_t>(a)};
    key.k0 += 0x9E3779B9u;
    key.k1 += 0xBB67AE85u;
  }
  return counter;
}

/// FNV-1a, 64 bits: a stable number for a name, to be mixed into a Philox counter or key.
constexpr std::uint64_t name_hash(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

/// A family of Philox draws: (seed, stream) is the key's and the counter's upper half, `index` the lower half.
struct Random {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;  ///< what the numbers are for: a name_hash, a lane, ...

  struct Bits {
    std::uint64_t first, second;
  };
  /// Two independent 64-bit numbers of draw `index`.
  SPIKESINK_HD constexpr Bits bits(std::uint64_t index) const {
    const auto r = philox({static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
                          {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                           static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)});
    return {r.w0 | std::uint64_t{r.w1} << 32, r.w2 | std::uint64_t{r.w3} << 32};
  }
  /// In [0, 1), 53 bits.
  SPIKESINK_HD constexpr double uniform(std::uint64_t index) const {
    return static_cast<double>(bits(index).first >> 11) * 0x1.0p-53;
  }
  /// In [0, n); the bias of the multiplication is below n / 2^64.
  SPIKESINK_HD constexpr std::uint64_t below(std::uint64_t index, std::uint64_t n) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{bits(index).first} * n) >> 64);
  }
  /// Standard normal (Box-Muller, the cosine branch).
  SPIKESINK_HD double normal(std::uint64_t index) const {
    const auto [a, b] = bits(index);
    const double u = (static_cast<double>(a >> 11) + 1) * 0x1.0p-53;  // (0, 1]
    const double v = static_cast<double>(b >> 11) * 0x1.0p-53;
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
  }
};

}  // namespace spikesink
