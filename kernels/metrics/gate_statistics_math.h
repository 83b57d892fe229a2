#pragma once
#include "kernels/core/math.h"
#include "kernels/metrics/gate_statistics.h"

namespace spikesink::kernels::math {

/// The part of [0, 1] that s falls into; kGateBins for NaN.
template <class T>
SPIKESINK_HD inline int gate_bin(T s) {
  if (!(s >= 0)) return kGateBins;
  const int bin = static_cast<int>(s * T(kGateBins));
  return bin < kGateBins ? bin : kGateBins - 1;
}

}  // namespace spikesink::kernels::math
