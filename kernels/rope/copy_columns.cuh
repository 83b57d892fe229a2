#pragma once
#include "kernels/core/vec.cuh"

namespace spikesink::kernels::cuda {

/// Columns [from, width) of `rows` rows of x into y, by the threads of a block; nothing where y is x.
template <int W, class T>
__device__ void copy_columns(T* y, const T* x, unsigned rows, unsigned from, unsigned width) {
  if (y == x) return;
  const unsigned steps_a_row = (width - from) / W;
  for (unsigned step = threadIdx.x; step < rows * steps_a_row; step += blockDim.x) {
    const std::size_t at = std::size_t{step / steps_a_row} * width + from + step % steps_a_row * W;
    store(y + at, load<W>(x + at));
  }
}

}  // namespace spikesink::kernels::cuda
