#pragma once
#include "kernels/core/math.h"

namespace spikesink::kernels::math {

template <class T>
SPIKESINK_HD inline T silu_mul(T gate, T up) {
  return silu(gate) * up;
}

template <class T>
struct GateUp {
  T gate, up;
};

/// The gradient of dy * silu(gate) * up, with silu'(g) = s (1 + g (1 - s)), s = sigmoid(g).
template <class T>
SPIKESINK_HD inline GateUp<T> silu_mul_gradient(T gate, T up, T dy) {
  const T s = sigmoid(gate), d = dy * s;  // first, so that the 0 of a closed gate does not meet an overflow of the rest
  return {d * up * (T(1) + gate * (T(1) - s)), d * gate};
}

}  // namespace spikesink::kernels::math
