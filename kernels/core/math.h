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

/// x = n ln 2 + r with |r| <= ln 2 / 2; the lowest bits of `rounded` are n.
template <class T>
struct Reduced {
  T rounded, n, r;
};
template <class T>
SPIKESINK_HD inline Reduced<T> reduced(T x) {
  using K = ExpConstants<T>;
  constexpr T kLog2E = T(1.44269504088896340736);
  const T rounded = x * kLog2E + K::kRound;
  const T n = rounded - K::kRound;
  return {rounded, n, (x - n * K::kLn2High) - n * K::kLn2Low};
}

/// c[0] + c[1] x + c[2] x^2 + ...
template <class T>
SPIKESINK_HD inline T polynomial(T, T c) {
  return c;
}
template <class T, class... Rest>
SPIKESINK_HD inline T polynomial(T x, T c, Rest... rest) {
  return polynomial(x, T(rest)...) * x + c;
}

/// The Taylor series of e^r for kFirst = 0, of (e^r - 1) / r for kFirst = 1.
template <int kFirst, class T>
SPIKESINK_HD inline T exp_series(T r) {
#ifdef __CUDA_ARCH__  // Fewer instructions, of which bf16 kernels have some forty an element: the hardware's e^r,
                      // within 2 units; the same series with its coefficients multiplied out.
  if constexpr (std::is_same_v<T, float>) {
    if constexpr (kFirst == 0) return __expf(r);
    return polynomial(r, 1.0f, 1.0f / 2, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720, 1.0f / 5040);
  }
#endif
  T series = 1;
#if defined(__GNUC__) && !defined(__CUDACC__)  // nvcc unrolls by itself
#pragma GCC unroll 16
#endif
  for (int k = ExpConstants<T>::kDegree; k > kFirst; --k) series = series * (r * (T(1) / T(k))) + T(1);
  return series;
}

/// 2^(n - kDown), by the bits of its exponent.
template <int kDown, class T>
SPIKESINK_HD inline T power_of_two(const Reduced<T>& x) {
  using Bits = typename ExpConstants<T>::Bits;
  constexpr int kMantissa = std::numeric_limits<T>::digits - 1;
  constexpr Bits kBias = std::numeric_limits<T>::max_exponent - 1 - kDown;
  return __builtin_bit_cast(T, (__builtin_bit_cast(Bits, x.rounded) + kBias) << kMantissa);
}

/// e^x for kLow <= x <= kHigh.
template <class T>
SPIKESINK_HD inline T exp_in_range(T x) {
  const Reduced<T> e = reduced(x);
  const T series = exp_series<0>(e.r);
  // 2^(n-1) and a factor of 2, since 2^n itself overflows before e^x does. The exponent's field of n - 1 <= -127 is 0.
  return (series + series) * power_of_two<1>(e);
}

/// e^x within 1 unit in the last place (1.5 where multiplications and sums are not fused, 3 on a GPU). Infinity above
/// the largest number; exactly 0 below 2^-125.5 (2^-1021.5 in f64), so that the tail of a softmax holds no denormal
/// numbers, which slow matrix products down.
template <class T>
SPIKESINK_HD inline T exp(T x) {
  using K = ExpConstants<T>;
  x = x < K::kLow ? K::kLow : x;
  x = x > K::kHigh ? K::kHigh : x;
  return exp_in_range(x);
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

/// Within 3.5 units in the last place, also near 0, where 1 - 2 / (e^2x + 1) would cancel: with 2x = n ln 2 + r,
/// e^2x - 1 is taken as 2^n (e^r - 1) + (2^n - 1).
template <class T>
SPIKESINK_HD inline T tanh(T x) {
  constexpr T kOne = T(sizeof(T) == 4 ? 20 : 44);  // of 2x, above which tanh is 1
  x = x + x;
  x = x < -kOne ? -kOne : x;
  x = x > kOne ? kOne : x;
  const Reduced<T> e = reduced(x);
  const T power = power_of_two<0>(e), less_one = power * (e.r * exp_series<1>(e.r)) + (power - T(1));
  return less_one / (less_one + T(2));
}

/// Phi(-a) e^(a^2 / 2) for 0 <= a <= 13.5 (38 in f64), Phi as below: a quotient of polynomials without a negative
/// coefficient, fitted to the least relative error: 5e-9 (5e-17).
SPIKESINK_HD inline float scaled_tail(float a) {
  return polynomial(a, 0x1.000000p-1f, 0x1.be1baap-2f, 0x1.734370p-3f, 0x1.477a44p-5f, 0x1.0760a0p-8f) /
         polynomial(a, 1.0f, 0x1.ab5004p+0f, 0x1.31c2ccp+0f, 0x1.db74a2p-2f, 0x1.9a766ap-4f, 0x1.4a1708p-7f);
}
SPIKESINK_HD inline double scaled_tail(double a) {
  return polynomial(a, 0x1.0000000000000p-1, 0x1.8c4954e6fec24p-1, 0x1.2f805394775fbp-1, 0x1.2758fe4f6308fp-2,
                    0x1.8e824bcf85d42p-4, 0x1.80fe0731e4340p-6, 0x1.0a44392b28f62p-8, 0x1.fe3c67154e9edp-12,
                    0x1.359a137e99956p-15, 0x1.6fd3c59dfac4ep-20) /
         polynomial(a, 1.0, 0x1.2c45bf42d0391p+1, 0x1.4755590005585p+1, 0x1.b5d6060d5649bp+0, 0x1.8f16df99501d4p-1,
                    0x1.03f7b442651a7p-2, 0x1.ec73b552121a8p-5, 0x1.50bf3dcd5345fp-7, 0x1.40a4b33fefd61p-10,
                    0x1.8407446ff4b9cp-14, 0x1.cd00c95e7d51fp-19);
}

template <class T>
struct Normal {
  T cdf, density;
};

/// Phi(x) = 0.5 (1 + erf(x / sqrt 2)) and its derivative e^(-x^2 / 2) / sqrt(2 pi). The lower tail does not cancel: its
/// relative error is 5 + x^2 / 2 units in the last place (the square's, through the exponential) until it is 0 at -13.2
/// (-37.6 in f64).
template <class T>
SPIKESINK_HD inline Normal<T> normal(T x) {
  constexpr T kZero = T(sizeof(T) == 4 ? 13.5 : 38);  // the exponential is exactly 0 there
  T a = x < 0 ? -x : x;
  a = a > kZero ? kZero : a;
  const T e = exp(T(-0.5) * a * a), tail = e * scaled_tail(a);
  return {x < 0 ? tail : T(1) - tail, e * T(0.39894228040143267794)};
}

}  // namespace spikesink::kernels::math
