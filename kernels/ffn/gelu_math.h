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
  // With z = 2 u: s = sigmoid(z) and 1 - s from e^-|z|, since 1 - s itself would cancel.
  constexpr T kA = T(2 * kGeluScale), kB = T(2 * kGeluScale * kGeluCube);
  const T z = x * (kA + kB * x * x), e = exp(z < 0 ? z : -z), r = T(1) / (T(1) + e);
  return (z < 0 ? e * r : r) + x * (e * r * r) * (kA + 3 * kB * x * x);
}

}  // namespace spikesink::kernels::math
