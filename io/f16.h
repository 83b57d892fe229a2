#pragma once
#include <bit>
#include <cstdint>

namespace spikesink {

/// IEEE 754 binary16 as files have it. Storage only.
class f16 {
 public:
  f16() = default;
  explicit constexpr f16(std::uint16_t bits) : bits_(bits) {}
  /// Exact: every half is a float, subnormals too.
  constexpr operator float() const {
    const std::uint32_t sign = std::uint32_t{bits_} >> 15 << 31, exponent = bits_ >> 10 & 0x1f,
                        mantissa = bits_ & 0x3ff;
    if (exponent == 0) {
      const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
      return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
    }
    const std::uint32_t wide = exponent == 0x1f ? 0xff : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
  }

 private:
  std::uint16_t bits_;
};

}  // namespace spikesink
