#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// Parts of [0, 1] that gate values are counted in, each from i / kGateBins on; 1 falls into the last.
inline constexpr int kGateBins = 20;

/// What the gate values s = sigmoid(logit) of each of B sequences and H heads are like. A head's are those of T
/// positions and W = G / H columns of the logits, T W < 2^31. NaN makes mean and variance NaN and is counted in no
/// part. On CUDA computed in f32, and the bits do not depend on the GPU.
struct GateStatistics {
  Tensor mean;      ///< out (B, H) acc_dtype: of s
  Tensor variance;  ///< out (B, H) acc_dtype: mean of (s - mean)^2, taken about the mean, so that it does not cancel
  Tensor first;     ///< out (B, H) acc_dtype: mean of s at the first position
  Tensor counts;    ///< out i32 (B, H, kGateBins)
  Tensor logits;    ///< (R, G), R >= B T, H divides G; row b T + t
  std::int64_t length;  ///< T >= 1
};
void gate_statistics(const Stream& stream, const GateStatistics& args);

namespace cpu {
void gate_statistics(const Stream& stream, const GateStatistics& args);
}
namespace cuda {
void gate_statistics(const Stream& stream, const GateStatistics& args);
}
}  // namespace spikesink::kernels
