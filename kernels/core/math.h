#pragma once
#include <cstdint>
#include <limits>
#include <type_traits>

#if defined(__CUDACC__)
#define SPIKESINK_HD __host__ __device__
#else
#define SPIKESINK_HD
#endif

/// Per-element functions, written so that a compiler turns a loop over them into vector code: no calls, no branches, no
/// tables. NaN goes through them.
namespace spikesink::kernels::math {

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  using Bits = std::uint32_t;
  static constexpr int kDegree = 7;                  // the next term of the series is below 6e-9
  static constexpr float kLow = -87.3f, kHigh = 89;  // 0 and infinity are reached within
  static constexpr float kRound = 0x1.8p23f;         // adding it rounds to an integer, in the lowest bits
  static constexpr float kLn2High = 0x1.63p-1f, kLn2Low = -0x1.bd0106p-13f;  // products with kLn2High are exact
};

template <>
struct ExpConstants<double> {
  using Bits = std::uint64_t;
  static constexpr int kDegree = 13;  // below 5e-18
  static constexpr double kLow = -708.4, kHigh = 710;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
};

/// e^x within 1 unit in the last place (1.5 where multiplications and sums are not fused). x = n ln 2 + r with |r| <=
/// ln 2 / 2; e^r by its Taylor series; 2^n by the bits of the exponent. Infinity above the largest number; exactly 0
/// below 2^-125.5 (2^-1021.5 in f64), so that the tail of a softmax holds no denormal numbers, which slow matrix
/// products down.
template <class T>
SPIKESINK_HD inline T exp(T x) {
  using K = ExpConstants<T>;
  using Bits = typename K::Bits;
  constexpr T kLog2E = T(1.44269504088896340736);
  x = x < K::kLow ? K::kLow : x;
  x = x > K::kHigh ? K::kHigh : x;
  const T rounded = x * kLog2E + K::kRound;
  const T n = rounded - K::kRound;
  const T r = (x - n * K::kLn2High) - n * K::kLn2Low;
  T series = 1;
#if defined(__GNUC__) && !defined(__CUDA_ARCH__)
#pragma GCC unroll 16
#endif
  for (int k = K::kDegree; k > 0; --k) series = series * (r * (T(1) / T(k))) + T(1);
  // 2^(n-1) and a factor of 2, since 2^n itself overflows before e^x does. The exponent's field of n - 1 <= -127 is 0.
  constexpr int kMantissa = std::numeric_limits<T>::digits - 1;
  constexpr Bits kBias = std::numeric_limits<T>::max_exponent - 2;
  const T half_scale = __builtin_bit_cast(T, (__builtin_bit_cast(Bits, rounded) + kBias) << kMantissa);
  return (series + series) * half_scale;
}

/// 1 / (1 + e^-x).
template <class T>
SPIKESINK_HD inline T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

/// x sigmoid(x). Sources: Hendrycks & Gimpel 2016, arXiv:1606.08415; Elfwing et al. 2017, arXiv:1702.03118.
template <class T>
SPIKESINK_HD inline T silu(T x) {
  return x * sigmoid(x);
}

}  // namespace spikesink::kernels::math
