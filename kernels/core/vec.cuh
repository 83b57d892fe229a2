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

template <int n, class T>
__device__ inline Floats<n> load(const T* from) {
  const auto raw = *reinterpret_cast<const Vec<T, n>*>(from);
  Floats<n> out;
#pragma unroll
  for (int i = 0; i < n; ++i) out.at[i] = static_cast<float>(raw.at[i]);
  return out;
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
