#pragma once
#include "kernels/attention/attention.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/math.h"

// What the hand-written attention kernels share on the device.
namespace spikesink::kernels::cuda {

/// AttentionDims for a kernel.
struct FlashDims {
  int num_heads, num_kv_heads, group, d_head, length;
  std::int64_t sequences, width, out_width;  ///< rows of qkv and of out have `width` and `out_width` elements
  float scale, scale_log2;                   ///< scale_log2 for scores as powers of 2
  bool wide;                                 ///< all rows of d_head elements start at a multiple of 16 bytes
};

inline FlashDims flash_dims(const AttentionDims& d, const Tensor& qkv, bool wide) {
  constexpr double kLog2E = 1.44269504088896340736;
  return {.num_heads = static_cast<int>(d.n_heads),
          .num_kv_heads = static_cast<int>(d.n_kv_heads),
          .group = static_cast<int>(d.n_heads / d.n_kv_heads),
          .d_head = static_cast<int>(d.d_head),
          .length = static_cast<int>(d.length),
          .sequences = qkv.shape()[0] / d.length,
          .width = d.qkv_width(),
          .out_width = d.out_width(),
          .scale = static_cast<float>(d.scale),
          .scale_log2 = static_cast<float>(d.scale * kLog2E),
          .wide = wide};
}

constexpr float kLog2E = 1.44269504088896340736f;

SPIKESINK_HD constexpr std::int64_t num_tiles(std::int64_t length, std::int64_t rows) {
  return (length + rows - 1) / rows;
}

/// What a block does: tile `tile` of head `head` of a sequence. Tiles are dealt out one after another, each over all
/// heads, so that those with the most keys or queries can come first.
struct BlockTask {
  int tile, head;
  std::int64_t sequence;
};
__device__ inline BlockTask block_task(std::int64_t sequences, int num_heads) {
  const std::int64_t heads = sequences * num_heads, rest = blockIdx.x % heads;
  return {static_cast<int>(blockIdx.x / heads), static_cast<int>(rest % num_heads), rest / num_heads};
}

/// The smallest of starts[0, n) for a block of kThreads threads, in each of them; 0 without starts. A barrier.
template <int kThreads>
__device__ inline int smallest_start(const std::int32_t* starts, int n) {
  if (!starts) return 0;
  __shared__ int smallest[kThreads / 32];
  int least = starts[0];
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) least = min(least, starts[i]);
  for (int offset = 16; offset > 0; offset /= 2) least = min(least, __shfl_xor_sync(0xffffffffu, least, offset));
  if (threadIdx.x % 32 == 0) smallest[threadIdx.x / 32] = least;
  __syncthreads();
  for (int warp = 0; warp < kThreads / 32; ++warp) least = min(least, smallest[warp]);
  return least;
}

/// Goes over the tiles of queries that meet a block of keys, those of each head of its group in turn.
struct QueryWalk {
  const std::int32_t* smallest;  ///< start of each tile's queries; or null: all 0
  int keys_end, first_tile, num_tiles, heads_end;
  int head, tile;

  __device__ bool done() const { return head >= heads_end; }
  __device__ void next() {
    step();
    skip();
  }
  /// On to a tile that sees a key before keys_end.
  __device__ void skip() {
    while (smallest && !done() && smallest[tile] >= keys_end) step();
  }
  __device__ void step() {
    if (++tile < num_tiles) return;
    tile = first_tile;
    ++head;
  }
};

}  // namespace spikesink::kernels::cuda
