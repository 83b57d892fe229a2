#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

// Simulated quantisation: values are moved to the nearest point of a coarse grid, and stay f32 or f64. Ties go to the
// even point. Each function takes one group of values that share a scale. Values are finite.
namespace spikesink {

/// The largest |x|; 0 of none.
template <class T>
T largest_magnitude(std::span<const T> x) {
  T top = 0;
  for (const T value : x) top = std::max(top, std::abs(value));
  return top;
}

/// Symmetric int8: scale = max|x| / 127, x -> scale * round(x / scale).
template <class T>
void round_to_int8(std::span<T> x) {
  const T scale = largest_magnitude<T>(x) / 127;
  if (scale < std::numeric_limits<T>::min()) return;
  for (T& value : x) value = scale * std::clamp<T>(std::nearbyint(value / scale), -127, 127);
}

/// Asymmetric int4: the 16 points low + i * (high - low) / 15 shifted so that 0 is one of them, low = min(x, 0), high =
/// max(x, 0): scale = (high - low) / 15, zero = round(-low / scale), x -> scale * (clamp(round(x / scale) + zero, 0,
/// 15) - zero). Source: Frantar et al. 2022, arXiv:2210.17323 (the grid, not the solver).
template <class T>
void round_to_int4(std::span<T> x) {
  T low = 0, high = 0;
  for (const T value : x) low = std::min(low, value), high = std::max(high, value);
  const T scale = (high - low) / 15;
  if (scale < std::numeric_limits<T>::min()) return;
  const T zero = std::nearbyint(-low / scale);
  for (T& value : x) value = scale * (std::clamp<T>(std::nearbyint(value / scale) + zero, 0, 15) - zero);
}

inline constexpr double kLargestE4m3 = 448;

/// The nearest number of FP8 E4M3 (4 bits of exponent with bias 7, 3 of mantissa; subnormal numbers are multiples of
/// 2^-9; no infinity): above 448 it is 448. NaN stays NaN. Source: Micikevicius et al. 2022, arXiv:2209.05433.
template <class T>
T nearest_e4m3(T x) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  constexpr int kMantissa = std::numeric_limits<T>::digits - 1, kBias = std::numeric_limits<T>::max_exponent - 1;
  const T a = std::abs(x);
  if (std::isnan(a)) return x;
  // The spacing of E4M3 around a is 2^(e - 3), e the exponent of a, -6 at least.
  const Bits exponent = std::max<Bits>(std::bit_cast<Bits>(a) >> kMantissa, kBias - 6);
  const T step = std::bit_cast<T>((exponent - 3) << kMantissa);
  return std::copysign(std::min(step * std::nearbyint(a / step), T(kLargestE4m3)), x);
}

/// E4M3 with the scale max|x| / 448.
template <class T>
void round_to_e4m3(std::span<T> x) {
  const T scale = largest_magnitude<T>(x) / T(kLargestE4m3);
  if (scale < std::numeric_limits<T>::min()) return;
  for (T& value : x) value = scale * nearest_e4m3(value / scale);
}

}  // namespace spikesink
