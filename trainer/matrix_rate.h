#pragma once
#include "kernels/core/stream.h"

namespace spikesink {

/// The rate of a large matrix product on this machine now, in FLOP/s: what MFU is a fraction of on the CPU. Takes some
/// 0.2 s in f32.
double measure_matrix_rate(const Stream& stream, DType dtype);

}  // namespace spikesink
