#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/core/dtype.cuh"

namespace spikesink {

/// Elements of T in the widest access, of 16 bytes.
template <class T>
inline constexpr int kWidth = 16 / static_cast<int>(sizeof(T));

/// `n` elements that move in one access, in several if they are more than 16 bytes.
template <class T, int n>
struct alignas(n * sizeof(T) < 16 ? n * sizeof(T) : 16) Vec {
  T at[n];
};

/// The same in f32, in registers.
template <int n>
struct Floats {
  float at[n];
};

/// `n` elements in as many registers as they have words: of bf16, half of what Floats take. (As a Vec, each of bf16
/// would have a register of its own.)
template <class T, int n>
struct __attribute__((may_alias, aligned(alignof(Vec<T, n>)))) Packed {
  std::uint32_t words[n * sizeof(T) / 4];

  __device__ float at(int i) const {
    if constexpr (sizeof(T) == 4) return __builtin_bit_cast(float, words[i]);
    const std::uint32_t word = words[i / 2];
    return __builtin_bit_cast(float, i % 2 ? word & 0xffff0000u : word << 16);
  }
};
template <class T, int n>
requires(n * sizeof(T) < 4) struct Packed<T, n> {
  T element;

  __device__ float at(int) const { return static_cast<float>(element); }
};

template <int n, class T>
__device__ inline Packed<T, n> load_packed(const T* from) {
  return *reinterpret_cast<const Packed<T, n>*>(from);
}

template <class T, int n>
__device__ inline Floats<n> floats(const Packed<T, n>& packed) {
  Floats<n> out;
#pragma unroll
  for (int i = 0; i < n; ++i) out.at[i] = packed.at(i);
  return out;
}

template <int n, class T>
__device__ inline Floats<n> load(const T* from) {
  return floats(load_packed<n>(from));
}

/// Rounds to the nearest.
template <int n, class T>
__device__ inline void store(T* to, const Floats<n>& values) {
  Vec<T, n> raw;
#pragma unroll
  for (int i = 0; i < n; ++i) raw.at[i] = static_cast<T>(values.at[i]);
  *reinterpret_cast<Vec<T, n>*>(to) = raw;
}

/// Do all of them start at a multiple of 16 bytes? A slice of a flat buffer may not.
inline bool aligned_16(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

/// Calls f.operator()<W>() for accesses of W elements: the widest, or 1 where rows are not aligned to it.
template <class T, class F>
void with_width(bool wide, F&& f) {
  if (wide)
    f.template operator()<kWidth<T>>();
  else
    f.template operator()<1>();
}

/// Threads of a block that goes through a row in `steps` steps: whole warps, at most 256.
inline std::int64_t row_threads(std::int64_t steps) {
  return std::clamp<std::int64_t>((steps + 31) / 32 * 32, 32, 256);
}

}  // namespace spikesink
