#pragma once
#include "kernels/core/math.h"

namespace spikesink::kernels::math {

template <class T>
SPIKESINK_HD inline T rms_norm(T x, T rstd, T weight) {
  return x * rstd * weight;
}

/// What a row has in common on the way back, from dot = sum_c weight dy x.
template <class T>
SPIKESINK_HD inline T rms_norm_shrink(T dot, T rstd, T num_channels) {
  return dot * rstd * rstd / num_channels;
}

template <class T>
SPIKESINK_HD inline T rms_norm_dx(T dy, T x, T weight, T rstd, T shrink) {
  return rstd * (weight * dy - x * shrink);
}

template <class T>
SPIKESINK_HD inline T rms_norm_dweight(T dy, T x, T rstd) {
  return dy * x * rstd;
}

}  // namespace spikesink::kernels::math
