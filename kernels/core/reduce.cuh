#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace spikesink {

/// The sum over the lanes of a whole warp, in each of them; the same order, so the same bits, always.
template <class T>
__device__ inline T warp_sum(T x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

/// The sum over the threads of a block, a line of whole warps, in each of them. A barrier for the block.
template <class T>
__device__ inline T block_sum(T x) {
  __shared__ T partial[32];
  x = warp_sum(x);
  __syncthreads();  // the sum before this one has been read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  T sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += partial[warp];
  return sum;
}

}  // namespace spikesink
