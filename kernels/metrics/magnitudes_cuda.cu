#include <algorithm>

#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/metrics/magnitudes.h"

// Without their sign bit, floating-point numbers are ordered as their bit patterns are, with NaN above infinity. All of
// this file compares patterns of f32, in which bf16 leaves the lower half zero; so maxima may meet in any order.
namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256;

__device__ std::uint32_t magnitude(float x) { return __builtin_bit_cast(std::uint32_t, x) & 0x7fffffff; }

/// What the search for a median knows: the digits found, from the highest on, and the rank among the numbers that begin
/// with them.
struct Search {
  std::uint32_t* found;   // (B)
  std::uint64_t* rank;    // (B)
  std::uint64_t* counts;  // (kMedianDigits, B, kMedianValues)
};

__global__ void begin_kernel(std::uint32_t* channel_max, std::int64_t channels, Search search, std::int64_t B,
                             std::uint64_t rank) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < channels) channel_max[i] = 0;
  if (i < kMedianDigits * B * kMedianValues) search.counts[i] = 0;
  if (i >= B) return;
  search.found[i] = 0;
  search.rank[i] = rank;
}

/// A row a block.
template <int W, class T>
__global__ void token_max_kernel(std::uint32_t* token_max, const T* x, std::int64_t C) {
  __shared__ std::uint32_t top;
  if (threadIdx.x == 0) top = 0;
  __syncthreads();
  x += blockIdx.x * C;
  std::uint32_t largest = 0;
  for (std::int64_t c = threadIdx.x * W; c < C; c += kThreads * W) {
    const auto v = load<W>(x + c);
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const std::uint32_t m = magnitude(v.at[j]);
      largest = m > largest ? m : largest;
    }
  }
  atomicMax(&top, largest);
  __syncthreads();
  if (threadIdx.x == 0) token_max[blockIdx.x] = top;
}

constexpr int kRows = 64;

/// kRows rows of a sequence, or what is left of it, and W columns a thread. blockIdx is (sequence and run of rows,
/// columns).
template <int W, class T>
__global__ void channel_max_kernel(std::uint32_t* channel_max, const T* x, std::int64_t length, std::int64_t C,
                                   std::int64_t runs) {
  const std::int64_t c = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * W;
  if (c >= C) return;
  const std::int64_t b = blockIdx.x / runs, begin = blockIdx.x % runs * kRows,
                     end = begin + kRows < length ? begin + kRows : length;
  std::uint32_t top[W] = {};
#pragma unroll 4
  for (std::int64_t t = begin; t < end; ++t) {
    const auto v = load<W>(x + (b * length + t) * C + c);
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const std::uint32_t m = magnitude(v.at[j]);
      top[j] = m > top[j] ? m : top[j];
    }
  }
#pragma unroll
  for (int j = 0; j < W; ++j) atomicMax(channel_max + b * C + c + j, top[j]);
}

struct Digit {
  int index, shift, bits;
};
constexpr Digit kDigits[kMedianDigits] = {{0, 20, 11}, {1, 10, 10}, {2, 0, 10}};
constexpr std::int64_t kRun = 1 << 15;  // elements that a block counts

/// Counts the digits of the numbers of sequence blockIdx.y that begin as its median does.
template <int W, class T>
__global__ void count_kernel(Search search, const T* x, std::int64_t n, Digit digit) {
  __shared__ unsigned counts[kMedianValues];
  for (int i = static_cast<int>(threadIdx.x); i < kMedianValues; i += kThreads) counts[i] = 0;
  __syncthreads();
  const std::int64_t b = blockIdx.y, begin = blockIdx.x * kRun, end = begin + kRun < n ? begin + kRun : n;
  const std::uint32_t found = search.found[b] >> digit.shift >> digit.bits;
#pragma unroll 4
  for (std::int64_t i = begin + threadIdx.x * W; i < end; i += kThreads * W) {
    const auto v = load<W>(x + b * n + i);
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const std::uint32_t m = magnitude(v.at[j]) >> digit.shift;
      if (m >> digit.bits == found) atomicAdd(&counts[m & ((1u << digit.bits) - 1)], 1u);
    }
  }
  __syncthreads();
  std::uint64_t* const total = search.counts + (digit.index * std::int64_t{gridDim.y} + b) * kMedianValues;
  for (int i = static_cast<int>(threadIdx.x); i < kMedianValues; i += kThreads)
    if (counts[i] > 0) atomicAdd(reinterpret_cast<unsigned long long*>(total + i), counts[i]);
}

/// Finds the digit that the rank falls into. One sequence a block.
__global__ void find_kernel(float* median, Search search, Digit digit) {
  constexpr int kEach = static_cast<int>(kMedianValues) / kThreads;
  __shared__ std::uint64_t sums[kThreads];
  const std::int64_t b = blockIdx.x;
  const std::uint64_t* const counts = search.counts + (digit.index * std::int64_t{gridDim.x} + b) * kMedianValues;
  std::uint64_t sum = 0;
  for (int j = 0; j < kEach; ++j) sum += counts[threadIdx.x * kEach + j];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  std::uint64_t rank = search.rank[b];
  int part = 0;
  for (; part < kThreads - 1 && rank >= sums[part]; ++part) rank -= sums[part];
  int value = part * kEach;
  for (; value < kMedianValues - 1 && rank >= counts[value]; ++value) rank -= counts[value];
  search.rank[b] = rank;
  search.found[b] |= static_cast<std::uint32_t>(value) << digit.shift;
  median[b] = __builtin_bit_cast(float, search.found[b]);
}

/// An output of magnitudes, as patterns.
std::uint32_t* patterns(const Tensor& t) { return reinterpret_cast<std::uint32_t*>(t.data<float>()); }
}  // namespace

void magnitudes(const Stream& stream, const Magnitudes& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t B = N / a.length, n = a.length * C;
  if (n == 0) return;
  Search search{};
  search.counts = scratch.take<std::uint64_t>(kMedianDigits * B * kMedianValues);
  search.rank = scratch.take<std::uint64_t>(B);
  search.found = scratch.take<std::uint32_t>(B);
  const std::int64_t cleared = std::max(B * C, kMedianDigits * B * kMedianValues);
  launch(stream, begin_kernel, (cleared + kThreads - 1) / kThreads, kThreads, 0, patterns(a.channel_max), B * C, search,
         B, static_cast<std::uint64_t>((n - 1) / 2));
  with_cuda_dtype(a.x.dtype(), [&, N = N, C = C]<class T>() {
    T* const x = a.x.data<T>();
    with_width<T>(C % kWidth<T> == 0 && aligned_16({x}), [&]<int W>() {
      launch(stream, token_max_kernel<W, T>, N, kThreads, 0, patterns(a.token_max), x, C);
      const std::int64_t threads = row_threads(C / W), columns = threads * W, runs = (a.length + kRows - 1) / kRows;
      launch(stream, channel_max_kernel<W, T>, {B * runs, (C + columns - 1) / columns}, threads, 0,
             patterns(a.channel_max), x, a.length, C, runs);
      const int num_digits = std::is_same_v<T, float> ? 3 : 2;  // the last are zeros in bf16
      for (int d = 0; d < num_digits; ++d) {
        launch(stream, count_kernel<W, T>, {(n + kRun - 1) / kRun, B}, kThreads, 0, search, x, n, kDigits[d]);
        launch(stream, find_kernel, B, kThreads, 0, a.median.data<float>(), search, kDigits[d]);
      }
    });
  });
}

}  // namespace spikesink::kernels::cuda
