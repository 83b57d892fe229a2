#pragma once
#include "kernels/core/math.h"

namespace spikesink::kernels::math {

/// Channels i and i + D / 2 of a head.
template <class T>
struct RopePair {
  T low, high;
};

/// The pair turned by the angle of `cos` and `sin`; by the opposite one with -sin.
template <class T>
SPIKESINK_HD inline RopePair<T> turn(T low, T high, T cos, T sin) {
  return {low * cos - high * sin, high * cos + low * sin};
}

}  // namespace spikesink::kernels::math
