#include "kernels/core/column_sums.h"

#include "kernels/core/launch.cuh"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kColumns = 32, kGroups = 8;

/// out[c] += sum_p partial[p, c] for 32 columns a block; eight groups of threads take every eighth row each.
__global__ void add_column_sums_kernel(float* out, const float* partial, std::int64_t P, std::int64_t C) {
  __shared__ float sums[kGroups][kColumns];
  const std::int64_t c = std::int64_t{blockIdx.x} * kColumns + threadIdx.x;
  float sum = 0;
  if (c < C)
    for (std::int64_t p = threadIdx.y; p < P; p += kGroups) sum += partial[p * C + c];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= C) return;
  for (int group = 1; group < kGroups; ++group) sum += sums[group][threadIdx.x];
  out[c] += sum;
}
}  // namespace

void add_column_sums(const Stream& stream, float* out, const float* partial, std::int64_t P, std::int64_t C) {
  launch(stream, add_column_sums_kernel, (C + kColumns - 1) / kColumns, {kColumns, kGroups}, 0, out, partial, P, C);
}

}  // namespace spikesink::kernels::cuda
