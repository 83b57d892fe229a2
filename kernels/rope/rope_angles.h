#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels::cpu {

/// (length, D): for each position D / 2 cosines, then D / 2 sines, of position * theta^(-2 i / D).
Tensor rope_angles(const Stream& stream, std::int64_t length, std::int64_t d_head, double theta, DType dtype);

}  // namespace spikesink::kernels::cpu
