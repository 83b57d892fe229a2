#pragma once
#include <optional>
#include <string_view>

#include "kernels/core/stream.h"

namespace spikesink {

/// The rate of a large matrix product on this machine now, in FLOP/s. Takes some 0.2 s in f32 on a CPU.
double measure_matrix_rate(const Stream& stream, DType dtype);

/// The dense rate that its maker states, of bf16 on a GPU whose CUDA name is known (trainer/gpus.h), in FLOP/s.
std::optional<double> stated_rate(DType dtype, std::string_view gpu_name);

/// What MFU is a share of, in FLOP/s: the stated rate where there is one, else the measured matrix rate.
double training_peak(const Stream& stream, DType dtype);

}  // namespace spikesink
