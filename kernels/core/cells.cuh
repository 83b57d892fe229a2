#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/core/launch.cuh"

namespace spikesink {

// Kernels over N rows of `steps` accesses each, a thread taking one step of kRows rows: threads of a block lie side by
// side in a row as far as it goes, and in further rows where it is short. Blocks side by side take the parts of a row
// one after another, so that memory is read in its order.

/// The launch: `grid` of `block`.
struct Cells {
  Cells(std::int64_t N, std::int64_t steps, int rows) : grid(0), block(0) {
    const std::int64_t parts = (steps + kThreads - 1) / kThreads;
    const std::int64_t across = std::max<std::int64_t>(1, parts > 0 ? (steps + parts - 1) / parts : 1);
    const std::int64_t down = std::clamp<std::int64_t>(kThreads / across, 1, std::max<std::int64_t>(1, N));
    block = {across, down};
    grid = {parts * ((N + down * rows - 1) / (down * rows))};
  }
  static constexpr std::int64_t kThreads = 256;
  Extent grid, block;
};

/// What a thread takes: step `step`, if it is one of the row's, of rows `row`, `row + stride`, ...
struct Cell {
  std::int64_t row, stride, step;
};
__device__ inline Cell cell(std::int64_t steps, int rows) {
  const unsigned parts = static_cast<unsigned>((steps + blockDim.x - 1) / blockDim.x);
  const unsigned group = blockIdx.x / parts, part = blockIdx.x % parts;
  return {std::int64_t{group} * rows * blockDim.y + threadIdx.y, blockDim.y,
          std::int64_t{part} * blockDim.x + threadIdx.x};
}

}  // namespace spikesink
