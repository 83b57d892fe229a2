#include <omp.h>

#include <algorithm>
#include <bit>
#include <type_traits>

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
  std::fill_n(channel_max, C, T(0));
  for (std::int64_t t = 0; t < rows; ++t) {
    Bits<T> token = 0;
#pragma omp simd reduction(max : token)
    for (std::int64_t c = 0; c < C; ++c) {
      const Bits<T> m = magnitude(x[t * C + c]);
      channel_max[c] = std::bit_cast<T>(std::max(std::bit_cast<Bits<T>>(channel_max[c]), m));
      token = std::max(token, m);
    }
    token_max[t] = std::bit_cast<T>(token);
  }
}

/// The magnitude of rank (n - 1) / 2, by its digits of 16 bits from the highest on: those of all numbers that begin as
/// it does are counted, and the rank falls into one of the counts. Two sweeps in f32, four in f64. `counts` has room
/// for kMedianCounts.
template <class T>
T lower_median(const T* x, std::int64_t n, std::int64_t* counts) {
  constexpr int kDigit = 16;
  std::int64_t rank = (n - 1) / 2;
  Bits<T> found = 0;
  for (int shift = 8 * sizeof(T) - kDigit; shift >= 0; shift -= kDigit) {
    std::fill_n(counts, kMedianCounts, 0);
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

void magnitudes(const Stream& stream, const Magnitudes& a, Scratch scratch) {
  std::int64_t* const counts = scratch.take<std::int64_t>(stream.num_threads * kMedianCounts);
  with_dtype(a.x.dtype(), [&]<class T>() {
    const std::int64_t C = matrix_dims(a.x).cols, length = a.length;
    parallel_tasks(stream, a.median.numel(), [&](std::int64_t b) {
      const T* x = a.x.data<T>() + b * length * C;
      maxima(a.channel_max.data<T>() + b * C, a.token_max.data<T>() + b * length, x, length, C);
      a.median.data<T>()[b] = lower_median(x, length * C, counts + omp_get_thread_num() * kMedianCounts);
    });
  });
}

}  // namespace spikesink::kernels::cpu
