#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// Magnitudes of a residual stream x of B = N / T sequences, from which massive activations are found. The median is
/// the exact lower one (the value of rank (T C - 1) / 2, from 0). NaN counts as the largest magnitude, and stays NaN.
/// Source: Sun, Chen, Kolter, Liu 2024, arXiv:2402.17762.
struct Magnitudes {
  Tensor channel_max;   ///< out (B, C): max_t |x|
  Tensor token_max;     ///< out (B, T): max_c |x|
  Tensor median;        ///< out (B): of |x| over the positions and channels of a sequence
  Tensor x;             ///< (N, C)
  std::int64_t length;  ///< T, divides N
};
void magnitudes(const Stream& stream, const Magnitudes& args);

namespace cpu {
void magnitudes(const Stream& stream, const Magnitudes& args);
}
}  // namespace spikesink::kernels
