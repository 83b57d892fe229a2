#pragma once
#include "kernels/core/math.h"

namespace spikesink::kernels::math {

template <class T>
SPIKESINK_HD inline T layer_norm(T x, T mean, T rstd, T weight, T bias) {
  return (x - mean) * rstd * weight + bias;
}

/// What a row has in common on the way back, with g = weight dy: the means of g and of g (x - mean) rstd.
template <class T>
struct LayerNormRow {
  T mean, rstd, shift, shrink;
};

template <class T>
SPIKESINK_HD inline T layer_norm_z(T x, const LayerNormRow<T>& row) {
  return (x - row.mean) * row.rstd;
}

template <class T>
SPIKESINK_HD inline T layer_norm_dx(T dy, T z, T weight, const LayerNormRow<T>& row) {
  return row.rstd * (weight * dy - row.shift - z * row.shrink);
}

}  // namespace spikesink::kernels::math
