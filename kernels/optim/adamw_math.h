#pragma once
#include <cmath>

#include "kernels/core/math.h"

namespace spikesink::kernels::math {

/// What a step has in common for all elements of a segment.
template <class T>
struct AdamWFactors {
  T beta1, rest1, beta2, rest2;  ///< rest = 1 - beta
  T grad_scale, eps;
  T keep;       ///< 1 - lr * weight_decay
  T step_size;  ///< lr / (1 - beta1^step)
  T v_scale;    ///< 1 / sqrt(1 - beta2^step)
};

template <class T>
SPIKESINK_HD inline void adamw_update(T& weight, T& m, T& v, T grad, const AdamWFactors<T>& f) {
  const T g = grad * f.grad_scale;
  m = f.beta1 * m + f.rest1 * g;
  v = f.beta2 * v + f.rest2 * g * g;
  weight = weight * f.keep - f.step_size * m / (std::sqrt(v) * f.v_scale + f.eps);
}

}  // namespace spikesink::kernels::math
