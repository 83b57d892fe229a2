#include <algorithm>
#include <bit>
#include <type_traits>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/metrics/magnitudes.h"

// Without their sign bit, floating-point numbers are ordered as their bit patterns are, with NaN above infinity. All of
// this file compares patterns.
namespace spikesink::kernels::cpu {
namespace {
template <class T>
using Bits = std::conditional_t<std::is_same_v<T, float>, std::uint32_t, std::uint64_t>;

template <class T>
Bits<T> magnitude(T x) {
  constexpr Bits<T> kSign = Bits<T>{1} << (8 * sizeof(T) - 1);
  return __builtin_bit_cast(Bits<T>, x) & ~kSign;
}

/// Maxima of a sequence (rows, C).
template <class T>
void maxima(T* channel_max, T* token_max, const T* x, std::int64_t rows, std::int64_t C) {
  std::vector<Bits<T>> channels(static_cast<std::size_t>(C), 0);
  Bits<T>* const top = channels.data();
  for (std::int64_t t = 0; t < rows; ++t) {
    Bits<T> token = 0;
#pragma omp simd reduction(max : token)
    for (std::int64_t c = 0; c < C; ++c) {
      const Bits<T> m = magnitude(x[t * C + c]);
      top[c] = std::max(top[c], m);
      token = std::max(token, m);
    }
    token_max[t] = std::bit_cast<T>(token);
  }
  std::transform(channels.begin(), channels.end(), channel_max, [](Bits<T> m) { return std::bit_cast<T>(m); });
}

/// The magnitude of rank (n - 1) / 2, by its digits of 16 bits from the highest on: those of all numbers that begin as
/// it does are counted, and the rank falls into one of the counts. Two sweeps in f32, four in f64.
template <class T>
T lower_median(const T* x, std::int64_t n) {
  constexpr int kDigit = 16;
  std::vector<std::int64_t> counts;
  std::int64_t rank = (n - 1) / 2;
  Bits<T> found = 0;
  for (int shift = 8 * sizeof(T) - kDigit; shift >= 0; shift -= kDigit) {
    counts.assign(std::size_t{1} << kDigit, 0);
    const int above = shift + kDigit;
    const bool first = above == 8 * sizeof(T);
    for (std::int64_t i = 0; i < n; ++i) {
      const Bits<T> m = magnitude(x[i]);
      if (first || (m ^ found) >> (above % (8 * sizeof(T))) == 0) ++counts[(m >> shift) & 0xffff];
    }
    Bits<T> digit = 0;
    while (rank >= counts[digit]) rank -= counts[digit++];
    found |= digit << shift;
  }
  return std::bit_cast<T>(found);
}
}  // namespace

void magnitudes(const Stream& stream, const Magnitudes& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const std::int64_t C = matrix_dims(a.x).cols, length = a.length;
    parallel_tasks(stream, a.median.numel(), [&](std::int64_t b) {
      const T* x = a.x.data<T>() + b * length * C;
      maxima(a.channel_max.data<T>() + b * C, a.token_max.data<T>() + b * length, x, length, C);
      a.median.data<T>()[b] = lower_median(x, length * C);
    });
  });
}

}  // namespace spikesink::kernels::cpu
