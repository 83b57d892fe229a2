#pragma once
#include <cstdint>
#include <cstring>

#include "tests/cuda_emulation/include/vector_types.h"

/// bfloat16 with CUDA's names and its rounding to the nearest, ties to even; a NaN becomes 0x7fff as on a GPU.
struct __nv_bfloat16 {
  __nv_bfloat16() = default;
  __nv_bfloat16(float value) {
    std::uint32_t all;
    std::memcpy(&all, &value, 4);
    bits = value != value ? std::uint16_t{0x7fff} : static_cast<std::uint16_t>((all + 0x7fff + (all >> 16 & 1)) >> 16);
  }
  operator float() const {
    const std::uint32_t all = std::uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &all, 4);
    return value;
  }

  std::uint16_t bits;
};

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
