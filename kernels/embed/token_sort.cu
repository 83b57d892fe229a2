#include "kernels/core/launch.cuh"
#include "kernels/embed/token_sort.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256, kWarps = kThreads / 32, kMaxDigits = 512, kWarpTile = kSortTile / kWarps;
constexpr unsigned kAll = 0xffffffffu;

struct Digit {
  int shift, bits;
  __device__ unsigned of(std::int32_t token) const {
    return (static_cast<unsigned>(token) >> shift) & ((1u << bits) - 1);
  }
  __host__ __device__ unsigned values() const { return 1u << bits; }
};

/// counts (blocks, digit values) of each tile.
__global__ void count_kernel(std::int32_t* counts, const std::int32_t* tokens, std::int64_t N, Digit digit) {
  __shared__ int tile[kMaxDigits];
  for (unsigned d = threadIdx.x; d < digit.values(); d += kThreads) tile[d] = 0;
  __syncthreads();
  const std::int64_t begin = blockIdx.x * kSortTile, end = begin + kSortTile < N ? begin + kSortTile : N;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) atomicAdd(&tile[digit.of(tokens[i])], 1);
  __syncthreads();
  for (unsigned d = threadIdx.x; d < digit.values(); d += kThreads)
    counts[std::int64_t{blockIdx.x} * digit.values() + d] = tile[d];
}

/// The sum of x over the threads before this one, of a block of kThreads.
__device__ unsigned sum_before(unsigned x) {
  __shared__ unsigned warps[kWarps];
  const unsigned lane = threadIdx.x % 32;
  unsigned sum = x;
  for (unsigned distance = 1; distance < 32; distance *= 2) {
    const unsigned before = __shfl_up_sync(kAll, sum, distance);
    if (lane >= distance) sum += before;
  }
  if (lane == 31) warps[threadIdx.x / 32] = sum;
  __syncthreads();
  sum -= x;
  for (unsigned warp = 0; warp < threadIdx.x / 32; ++warp) sum += warps[warp];
  return sum;
}

/// Moves a tile to where its digit puts it. `positions` null: 0, 1, 2, ...
__global__ void scatter_kernel(std::int32_t* sorted, std::int32_t* sorted_positions, const std::int32_t* tokens,
                               const std::int32_t* positions, const std::int32_t* counts, std::int64_t N, Digit digit) {
  __shared__ unsigned place[kWarps][kMaxDigits];  // where a warp's next token of a digit goes
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const std::int64_t begin = blockIdx.x * kSortTile + warp * kWarpTile;
  for (unsigned i = threadIdx.x; i < kWarps * kMaxDigits; i += kThreads) place[i / kMaxDigits][i % kMaxDigits] = 0;
  __syncthreads();
  for (unsigned i = lane; i < kWarpTile && begin + i < N; i += 32)
    atomicAdd(&place[warp][digit.of(tokens[begin + i])], 1u);

  // Before a warp's tokens of a digit lie those of smaller digits, of earlier blocks and of earlier warps. A thread has
  // two neighbouring digits.
  unsigned earlier_blocks[2] = {0, 0}, all_blocks[2] = {0, 0};
  for (unsigned block = 0; block < gridDim.x; ++block)
    for (unsigned j = 0; j < 2; ++j) {
      const unsigned d = 2 * threadIdx.x + j;
      if (d >= digit.values()) continue;
      const auto count = static_cast<unsigned>(counts[std::int64_t{block} * digit.values() + d]);
      all_blocks[j] += count;
      if (block < blockIdx.x) earlier_blocks[j] += count;
    }
  const unsigned smaller = sum_before(all_blocks[0] + all_blocks[1]);  // a barrier: all warps have counted
  for (unsigned j = 0; j < 2; ++j) {
    const unsigned d = 2 * threadIdx.x + j;
    if (d >= digit.values()) continue;
    unsigned next = smaller + (j == 1 ? all_blocks[0] : 0) + earlier_blocks[j];
    for (unsigned w = 0; w < kWarps; ++w) {
      const unsigned count = place[w][d];
      place[w][d] = next;
      next += count;
    }
  }
  __syncthreads();

  for (unsigned start = 0; start < kWarpTile; start += 32) {
    const std::int64_t from = begin + start + lane;
    const bool valid = from < N;
    const std::int32_t token = valid ? tokens[from] : 0;
    const unsigned d = digit.of(token);
    unsigned peers = __ballot_sync(kAll, valid);  // lanes with the same digit
    for (int bit = 0; bit < digit.bits; ++bit) {
      const bool set = (d >> bit & 1) != 0;
      const unsigned lanes = __ballot_sync(kAll, set);
      peers &= set ? lanes : ~lanes;
    }
    const auto rank = static_cast<unsigned>(__popc(peers & ((1u << lane) - 1)));
    if (valid) {
      const unsigned to = place[warp][d] + rank;
      sorted[to] = token;
      sorted_positions[to] = positions ? positions[from] : static_cast<std::int32_t>(from);
    }
    __syncwarp();
    if (valid && rank == 0) place[warp][d] += static_cast<unsigned>(__popc(peers));
    __syncwarp();
  }
}
}  // namespace

SortedTokens sort_tokens(const Stream& stream, const std::int32_t* tokens, std::int64_t N, std::int64_t V,
                         Scratch& scratch) {
  const SortDigits digits(V);
  const std::int64_t blocks = (N + kSortTile - 1) / kSortTile;
  std::int32_t* const buffers[2][2] = {{scratch.take<std::int32_t>(N), scratch.take<std::int32_t>(N)},
                                       {scratch.take<std::int32_t>(N), scratch.take<std::int32_t>(N)}};
  std::int32_t* const counts = scratch.take<std::int32_t>(blocks << digits.bits);
  SortedTokens from{tokens, nullptr};
  for (int pass = 0; pass < digits.passes; ++pass) {
    const Digit digit{pass * digits.bits, digits.bits};
    std::int32_t *const to = buffers[pass % 2][0], *const to_positions = buffers[pass % 2][1];
    launch(stream, count_kernel, blocks, kThreads, 0, counts, from.tokens, N, digit);
    launch(stream, scatter_kernel, blocks, kThreads, 0, to, to_positions, from.tokens, from.positions, counts, N,
           digit);
    from = {to, to_positions};
  }
  return from;
}

}  // namespace spikesink::kernels::cuda
