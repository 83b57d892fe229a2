#pragma once
#include <bit>
#include <cstdint>

namespace spikesink {

/// bfloat16 as the host and files have it: the upper half of an f32. Storage only: nothing computes in it.
class bf16 {
 public:
  bf16() = default;
  /// To the nearest, ties to even; what is above the largest number becomes infinity, a NaN stays one.
  explicit constexpr bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
      bits_ = static_cast<std::uint16_t>(bits >> 16 | 0x40);  // quiet, so that the cut mantissa is not infinity's
    else
      bits_ = static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  constexpr operator float() const { return std::bit_cast<float>(std::uint32_t{bits_} << 16); }

 private:
  std::uint16_t bits_;
};

}  // namespace spikesink
