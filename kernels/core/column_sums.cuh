#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/core/launch.cuh"

namespace spikesink::kernels::cuda {

constexpr int kSumColumns = 32, kSumGroups = 8;

/// out[c] += sum_p partial[p, c] for 32 columns a block; eight groups of threads take every eighth row each.
inline __global__ void add_column_sums_kernel(float* out, const float* partial, std::int64_t P, std::int64_t C) {
  __shared__ float sums[kSumGroups][kSumColumns];
  const std::int64_t c = std::int64_t{blockIdx.x} * kSumColumns + threadIdx.x;
  float sum = 0;
  if (c < C)
    for (std::int64_t p = threadIdx.y; p < P; p += kSumGroups) sum += partial[p * C + c];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= C) return;
  for (int group = 1; group < kSumGroups; ++group) sum += sums[group][threadIdx.x];
  out[c] += sum;
}

/// The last step of a parameter's gradient: adds partial sums (P, C) to `out` (C), in an order that P alone decides.
inline void add_column_sums(const Stream& stream, float* out, const float* partial, std::int64_t P, std::int64_t C) {
  launch(stream, add_column_sums_kernel, (C + kSumColumns - 1) / kSumColumns, {kSumColumns, kSumGroups}, 0, out,
         partial, P, C);
}

/// Blocks that a sum over N rows is cut into: enough to fill a GPU, each of at least 16 rows. Depends on N only, so
/// that bits do not depend on the GPU.
inline std::int64_t num_row_blocks(std::int64_t N) { return std::clamp<std::int64_t>(N / 16, 1, 512); }

}  // namespace spikesink::kernels::cuda
