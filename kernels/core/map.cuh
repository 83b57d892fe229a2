#pragma once
#include <cstdint>
#include <utility>

#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"

namespace spikesink {

// Element-wise kernels. A block takes a run of elements, each thread several accesses that lie a block's width apart,
// all of them under way before the first is waited for. No __restrict__: outputs may be inputs.

inline constexpr int kMapThreads = 256, kMapLoads = 4;  // accesses of a thread, over all inputs

/// Accesses of a thread to each of `num_inputs` inputs.
template <int num_inputs>
inline constexpr int kMapAccesses = num_inputs < kMapLoads ? kMapLoads / num_inputs : 1;

/// Blocks of a kernel that calls map<W>() on n elements.
template <int W, int num_inputs>
std::int64_t map_blocks(std::int64_t n) {
  constexpr std::int64_t block = std::int64_t{kMapThreads} * W * kMapAccesses<num_inputs>;
  return (n + block - 1) / block;
}

/// y[i] = f(in[i]...) in f32 for i in [0, n), in blocks of kMapThreads. `y` is what f returns a vector of.
template <int W, class T, class F, class... In>
__device__ void map(T* y, std::int64_t n, F f, const In*... in) {
  constexpr int K = sizeof...(In), kAccesses = kMapAccesses<K>;
  const T* const inputs[K] = {in...};
  const std::int64_t first = (std::int64_t{blockIdx.x} * kAccesses * kMapThreads + threadIdx.x) * W;
  constexpr std::int64_t kStride = std::int64_t{kMapThreads} * W;
  Packed<T, W> raw[kAccesses][K];
#pragma unroll
  for (int u = 0; u < kAccesses; ++u)
    if (first + u * kStride + W <= n)
#pragma unroll
      for (int k = 0; k < K; ++k) raw[u][k] = load_packed<W>(inputs[k] + first + u * kStride);
#pragma unroll
  for (int u = 0; u < kAccesses; ++u) {
    if (const std::int64_t at = first + u * kStride; at + W <= n) {
      Floats<W> out;
#pragma unroll
      for (int i = 0; i < W; ++i) out.at[i] = [&]<int... k>(std::integer_sequence<int, k...>) {
          return f(raw[u][k].at(i)...);
        }
      (std::make_integer_sequence<int, K>{});
      store(y + at, out);
    }
  }
  // What is left over, less than an access, goes to the first threads.
  if (const std::int64_t at = n / W * W + threadIdx.x; W > 1 && blockIdx.x == 0 && at < n)
    y[at] = static_cast<T>(f(static_cast<float>(in[at])...));
}

}  // namespace spikesink
