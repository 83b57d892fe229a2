#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/core/stream.h"

namespace spikesink::kernels::cuda {

/// The last step of a parameter's gradient: adds partial sums (P, C) to `out` (C), in an order that P alone decides.
void add_column_sums(const Stream& stream, float* out, const float* partial, std::int64_t P, std::int64_t C);

/// Blocks that a sum over N rows is cut into: enough to fill a GPU, each of at least 16 rows. Depends on N only, so
/// that bits do not depend on the GPU.
inline std::int64_t num_row_blocks(std::int64_t N) { return std::clamp<std::int64_t>(N / 16, 1, 512); }

}  // namespace spikesink::kernels::cuda
