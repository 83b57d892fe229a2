#pragma once
#include <cmath>

#include "kernels/core/random.h"
#include "kernels/optim/adamw.h"

namespace spikesink::kernels::math {

/// What a step has in common for all elements of a segment.
template <class T>
struct AdamWFactors {
  T beta1, rest1, beta2, rest2;  ///< rest = 1 - beta
  T eps;
  T step_size;   ///< lr / (1 - beta1^step)
  T v_scale;     ///< 1 / sqrt(1 - beta2^step)
  T grad_scale;  ///< clip_factor()
  T keep;        ///< 1 - lr * weight_decay
};

/// Without what depends on gradients and segments.
template <class T>
AdamWFactors<T> adamw_factors(const AdamW& a) {
  const auto step = static_cast<double>(a.step);
  return {.beta1 = static_cast<T>(a.beta1),
          .rest1 = static_cast<T>(1 - a.beta1),
          .beta2 = static_cast<T>(a.beta2),
          .rest2 = static_cast<T>(1 - a.beta2),
          .eps = static_cast<T>(a.eps),
          .step_size = static_cast<T>(a.lr / (1 - std::pow(a.beta1, step))),
          .v_scale = static_cast<T>(1 / std::sqrt(1 - std::pow(a.beta2, step))),
          .grad_scale = 1,
          .keep = 1};
}

SPIKESINK_HD inline bool is_finite(double x) { return x - x == 0; }

/// What gradients whose squares sum to `squares` are multiplied by; NaN if their norm is not finite.
SPIKESINK_HD inline double clip_factor(double squares, double clip) {
  const double norm = std::sqrt(squares);
  if (!is_finite(norm)) return norm - norm;  // NaN, of infinity too
  return clip > 0 && norm > clip ? clip / norm : 1;
}

template <class T>
SPIKESINK_HD inline void adamw_update(T& weight, T& m, T& v, T grad, const AdamWFactors<T>& f) {
  const T g = grad * f.grad_scale;
  m = f.beta1 * m + f.rest1 * g;
  v = f.beta2 * v + f.rest2 * g * g;
  weight = weight * f.keep - f.step_size * m / (std::sqrt(v) * f.v_scale + f.eps);
}

/// Random numbers of 16 bits for what is stored of an element.
struct RoundingDraws {
  std::uint32_t weight, m, v;
};
/// Elements 2 i and 2 i + 1 share a Philox draw, `pair` = i.
SPIKESINK_HD inline RoundingDraws rounding_draws(const Random::Bits& pair, bool odd) {
  const std::uint64_t bits = odd ? pair.second : pair.first;
  return {static_cast<std::uint32_t>(bits) & 0xffff, static_cast<std::uint32_t>(bits) >> 16,
          static_cast<std::uint32_t>(bits >> 32) & 0xffff};
}

/// One of the two bf16 numbers between which x lies, as an f32: the one away from zero for (distance of the other) *
/// 2^16 of the 2^16 values of `draw`.
SPIKESINK_HD inline float round_at_random(float x, std::uint32_t draw) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  if ((bits & 0x7f800000) == 0x7f800000) return x;  // infinity, NaN
  return __builtin_bit_cast(float, (bits + draw) & 0xffff0000);
}

}  // namespace spikesink::kernels::math
