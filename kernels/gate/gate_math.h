#pragma once
#include "kernels/core/math.h"

namespace spikesink::kernels::math {

/// What an element gives to the gradient of its logit, whose sigmoid is s. The slope s (1 - s), 0 of a closed gate, is
/// multiplied first, since dy x may overflow.
template <class T>
SPIKESINK_HD inline T gate_dlogit(T s, T dy, T x) {
  return s * (T(1) - s) * dy * x;
}

}  // namespace spikesink::kernels::math
