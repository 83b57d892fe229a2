#pragma once
#include "kernels/core/stream.h"

namespace spikesink {

/// The rate of a large matrix product on this machine now, in FLOP/s. Takes some 0.2 s in f32 on a CPU.
double measure_matrix_rate(const Stream& stream, DType dtype);

/// What MFU is a share of, in FLOP/s: of bf16 on a GPU that is known by its name the dense rate that its maker states
/// (H100 and H200 989e12, A100 312e12), else the measured matrix rate.
double training_peak(const Stream& stream, DType dtype);

}  // namespace spikesink
