#pragma once
#include <cstdint>

/// CUDA's small vectors, with its alignments.
#define SPIKESINK_VECTORS(name, T)                                   \
  struct alignas(2 * sizeof(T)) name##2 {                            \
    T x, y;                                                          \
  };                                                                 \
  struct name##3 {                                                   \
    T x, y, z;                                                       \
  };                                                                 \
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 {  \
    T x, y, z, w;                                                    \
  };                                                                 \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

SPIKESINK_VECTORS(float, float)
SPIKESINK_VECTORS(double, double)
SPIKESINK_VECTORS(int, int)
SPIKESINK_VECTORS(uint, unsigned)
#undef SPIKESINK_VECTORS

struct dim3 {
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  unsigned x, y, z;
};
