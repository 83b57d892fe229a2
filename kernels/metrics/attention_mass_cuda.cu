#include "kernels/core/launch.cuh"
#include "kernels/core/math.h"
#include "kernels/core/vec.cuh"
#include "kernels/metrics/attention_mass.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kTile = 128;       // queries, and keys, that meet at a time
constexpr int kDepth = 32;       // channels of them in shared memory
constexpr int kRow = kTile + 4;  // so that rows begin in other banks and at 16 bytes
constexpr int kSide = 16;        // a block is kSide x kSide threads
constexpr int kEach = 8;         // queries, and keys, of a thread, in two groups, half a tile apart
constexpr int kThreads = kSide * kSide, kHalf = kEach / 2;
static_assert(kSide * kEach == kTile);

/// Where number i of the queries or keys of a part of the threads lies in a tile.
__device__ constexpr int place(int part, int i) { return i / kHalf * (kTile / 2) + part * kHalf + i % kHalf; }

struct Sizes {
  std::int64_t num_heads, group, D, length, width, sequences;
  float scale;
};

/// kDepth channels of up to kTile rows into `tile` (kDepth, kRow), zeros where there are none. Neighbouring threads
/// take neighbouring rows, so that stores do not meet in a bank.
template <int W, class T>
__device__ void load_tile(float* tile, const T* x, std::int64_t rows, std::int64_t channels, std::int64_t width) {
#pragma unroll 1  // the scores need the registers
  for (int step = static_cast<int>(threadIdx.x); step < kTile * kDepth / W; step += kThreads) {
    const int row = step % kTile, channel = step / kTile * W;
    Floats<W> v{};
    if (row < rows && channel < channels) v = load<W>(x + row * width + channel);
#pragma unroll
    for (int j = 0; j < W; ++j) tile[(channel + j) * kRow + row] = v.at[j];
  }
}

/// alpha of kTile keys of a head, blockIdx.x = (tile, sequence, head): the first tiles meet the most queries and start
/// first. A thread has kEach keys and, of each tile of queries, kEach queries; the order of the sums is fixed.
template <int W, class T>
__global__ void __launch_bounds__(kThreads, 2)
    mass_kernel(float* alpha, const T* qkv, const float* lse, const std::int32_t* starts, Sizes d) {
  alignas(16) __shared__ float q_tile[kDepth * kRow], k_tile[kDepth * kRow];
  __shared__ float query_lse[kTile], sums[kSide][kTile];
  __shared__ std::int32_t query_start[kTile];
  const std::int64_t heads = d.sequences * d.num_heads, task = blockIdx.x % heads, b = task / d.num_heads,
                     h = task % d.num_heads, first_key = blockIdx.x / heads * kTile;
  const T *const q = qkv + b * d.length * d.width + h * d.D, *const k = qkv + b * d.length * d.width +
                                                                        (d.num_heads + h / d.group) * d.D;
  const int query_part = static_cast<int>(threadIdx.x) / kSide, key_part = static_cast<int>(threadIdx.x) % kSide;
  float sum[kEach] = {};
  for (std::int64_t first = first_key; first < d.length; first += kTile) {
    const std::int64_t queries = d.length - first;
    __syncthreads();  // what is loaded of the queries before has been read
    for (int i = static_cast<int>(threadIdx.x); i < kTile; i += kThreads) {
      query_lse[i] = i < queries ? lse[task * d.length + first + i] : 0;
      query_start[i] = starts && i < queries ? starts[b * d.length + first + i] : 0;
    }
    __syncthreads();
    if (starts) {
      bool sees_any = false;
      for (int i = 0; i < kTile && i < queries; ++i) sees_any = sees_any || query_start[i] < first_key + kTile;
      if (!sees_any) continue;
    }
    float scores[kEach][kEach] = {};
    for (std::int64_t channel = 0; channel < d.D; channel += kDepth) {
      __syncthreads();  // the channels before have been read
      load_tile<W>(q_tile, q + first * d.width + channel, queries, d.D - channel, d.width);
      load_tile<W>(k_tile, k + first_key * d.width + channel, d.length - first_key, d.D - channel, d.width);
      __syncthreads();
#pragma unroll 2
      for (int c = 0; c < kDepth; ++c) {
        const float *const q_row = q_tile + c * kRow, *const k_row = k_tile + c * kRow;
        const Floats<kHalf> q_at[] = {load<kHalf>(q_row + place(query_part, 0)),
                                      load<kHalf>(q_row + place(query_part, kHalf))},
                            k_at[] = {load<kHalf>(k_row + place(key_part, 0)),
                                      load<kHalf>(k_row + place(key_part, kHalf))};
#pragma unroll
        for (int i = 0; i < kEach; ++i)
#pragma unroll
          for (int j = 0; j < kEach; ++j) scores[i][j] += q_at[i / kHalf].at[i % kHalf] * k_at[j / kHalf].at[j % kHalf];
      }
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int query = place(query_part, i);
      const int last = static_cast<int>(first - first_key) + query;  // of the keys that it sees, in the tile
      const int earliest = query_start[query] - static_cast<int>(first_key);
      const bool exists = query < queries;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const int key = place(key_part, j);
        if (exists && key <= last && key >= earliest) sum[j] += math::exp(d.scale * scores[i][j] - query_lse[query]);
      }
    }
  }
  for (int j = 0; j < kEach; ++j) sums[query_part][place(key_part, j)] = sum[j];
  __syncthreads();
  const std::int64_t key = first_key + threadIdx.x;
  if (threadIdx.x >= kTile || key >= d.length) return;
  float total = 0;
  for (int part = 0; part < kSide; ++part) total += sums[part][threadIdx.x];
  alpha[task * d.length + key] = total / static_cast<float>(d.length);
}
}  // namespace

void attention_mass(const Stream& stream, const AttentionMass& a, Scratch) {
  with_cuda_dtype(a.qkv.dtype(), [&]<class T>() {
    T* const qkv = a.qkv.data<T>();
    const AttentionDims& d = a.dims;
    const Sizes sizes{.num_heads = d.n_heads,
                      .group = d.n_heads / d.n_kv_heads,
                      .D = d.d_head,
                      .length = d.length,
                      .width = d.qkv_width(),
                      .sequences = a.qkv.shape()[0] / d.length,
                      .scale = static_cast<float>(d.scale)};
    const std::int64_t tiles = (d.length + kTile - 1) / kTile;
    with_width<T>(d.d_head % kWidth<T> == 0 && aligned_16({qkv}), [&]<int W>() {
      launch(stream, mass_kernel<W, T>, tiles * sizes.sequences * sizes.num_heads, kThreads, 0, a.alpha.data<float>(),
             qkv, a.lse.data<float>(), a.starts ? a.starts.data<std::int32_t>() : nullptr, sizes);
    });
  });
}

}  // namespace spikesink::kernels::cuda
