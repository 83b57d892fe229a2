#pragma once
#include "kernels/core/math.h"

namespace spikesink::kernels::math {

template <class T>
SPIKESINK_HD inline T dynamic_tanh(T x, T weight, T alpha) {
  return weight * tanh(alpha * x);
}

template <class T>
struct DynamicTanhGradient {
  T x, weight, alpha;
};

/// The gradient of dy * weight * tanh(alpha x).
template <class T>
SPIKESINK_HD inline DynamicTanhGradient<T> dynamic_tanh_gradient(T x, T weight, T alpha, T dy) {
  const T t = tanh(alpha * x), u = weight * dy * (T(1) - t * t);
  return {alpha * u, dy * t, u * x};
}

}  // namespace spikesink::kernels::math
