#pragma once
#include "kernels/core/math.h"
#include "kernels/ffn/gelu.h"

namespace spikesink::kernels::math {

/// sqrt(2 / pi) and the coefficient of the cube in the approximation by tanh.
inline constexpr double kGeluScale = 0.79788456080286535588, kGeluCube = 0.044715;

template <GeluForm form, class T>
SPIKESINK_HD inline T gelu(T x) {
  if constexpr (form == GeluForm::kExact) return x * normal(x).cdf;
  // 0.5 (1 + tanh u) = sigmoid(2 u), which does not cancel where u is negative.
  constexpr T kA = T(2 * kGeluScale), kB = T(2 * kGeluScale * kGeluCube);
  return x * sigmoid(x * (kA + kB * x * x));
}

template <GeluForm form, class T>
SPIKESINK_HD inline T gelu_gradient(T x) {
  if constexpr (form == GeluForm::kExact) {
    const auto n = normal(x);
    return n.cdf + x * n.density;
  }
  // With z = 2 u of |x|: r = sigmoid(z), and 1 - r = e r, which does not cancel; x dz/dx = 3 z - 2 kA |x|. At kFar, z
  // is 87.15 (708.2 in f64): e is exactly 0 there, and beyond it z might be infinite.
  constexpr T kA = T(2 * kGeluScale), kB = T(2 * kGeluScale * kGeluCube), kFar = T(sizeof(T) == 4 ? 9.993 : 21.1435);
  T a = x < 0 ? -x : x;
  a = a > kFar ? kFar : a;
  const T z = a * (kA + kB * a * a), e = exp_in_range(-z), r = T(1) / (T(1) + e), tail = e * r,
          part = tail * r * (T(3) * z - T(2) * kA * a);
  return x < 0 ? tail - part : r + part;
}

}  // namespace spikesink::kernels::math
