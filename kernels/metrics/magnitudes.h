#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// Magnitudes of a residual stream x of B = N / T sequences, from which massive activations are found. The median is
/// the exact lower one (the value of rank (T C - 1) / 2, from 0). NaN counts as the largest magnitude, and stays NaN.
/// Source: Sun, Chen, Kolter, Liu 2024, arXiv:2402.17762.
struct Magnitudes {
  Tensor channel_max;   ///< out (B, C) acc_dtype: max_t |x|
  Tensor token_max;     ///< out (B, T) acc_dtype: max_c |x|
  Tensor median;        ///< out (B) acc_dtype: of |x| over the positions and channels of a sequence
  Tensor x;             ///< (N, C)
  std::int64_t length;  ///< T, divides N
};
void magnitudes(const Stream& stream, const Magnitudes& args);

namespace cpu {

/// Counts of a thread that looks for a median.
inline constexpr std::int64_t kMedianCounts = 1 << 16;

void magnitudes(const Stream& stream, const Magnitudes& args, Scratch scratch);
}  // namespace cpu
namespace cuda {

/// What the search for the medians of B sequences keeps.
inline constexpr std::int64_t kMedianDigits = 3, kMedianValues = 2048;
inline std::int64_t magnitudes_bytes(std::int64_t B) {
  return scratch_bytes<std::uint64_t>(kMedianDigits * B * kMedianValues) + scratch_bytes<std::uint64_t>(B) +
         scratch_bytes<std::uint32_t>(B);
}

void magnitudes(const Stream& stream, const Magnitudes& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
