#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cudnn.h"
#include "kernels/attention/flash.cuh"
#include "kernels/attention/flash.h"
#include "kernels/core/vec.cuh"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 128, kLanes = 8;

/// delta_t = dout_t . out_t of each query and head: eight lanes a row of D.
template <int W, class T>
__global__ void delta_kernel(float* delta, const T* dout, const T* out, std::int64_t rows, FlashDims d) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kLanes;  // n H + h
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  float sum = 0;
  if (i < rows)
    for (int c = lane * W; c < d.d_head; c += kLanes * W) {
      const auto g = load<W>(dout + i * d.d_head + c), o = load<W>(out + i * d.d_head + c);
#pragma unroll
      for (int e = 0; e < W; ++e) sum += g.at[e] * o.at[e];
    }
  for (int lanes = 1; lanes < kLanes; lanes *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  const std::int64_t n = i / d.num_heads, h = i % d.num_heads;
  if (i < rows && lane == 0) delta[(n / d.length * d.num_heads + h) * d.length + n % d.length] = sum;
}

/// A warp a tile of queries.
__global__ void smallest_kernel(std::int32_t* smallest, const std::int32_t* starts, std::int64_t tile_rows,
                                std::int64_t tiles, FlashDims d) {
  const std::int64_t sequence = blockIdx.x / tiles, first = blockIdx.x % tiles * tile_rows;
  const auto rows = static_cast<int>(d.length - first < tile_rows ? d.length - first : tile_rows);
  const int least = smallest_start<32>(starts + sequence * d.length + first, rows);
  if (threadIdx.x == 0) smallest[blockIdx.x] = least;
}
}  // namespace

BackwardAids backward_aids(const Stream& stream, const AttentionBackward& a, std::int64_t tile_rows, Scratch scratch) {
  const FlashDims d = flash_dims(a.dims, a.qkv, false);
  const std::int64_t rows = a.qkv.shape()[0] * a.dims.n_heads;
  BackwardAids aids{.delta = scratch.take<float>(rows), .smallest = nullptr};
  with_cuda_dtype(a.qkv.dtype(), [&]<class T>() {
    T *const dout = a.dout.data<T>(), *const out = a.out.data<T>();
    with_width<T>(a.dims.d_head % kWidth<T> == 0 && aligned_16({dout, out}), [&]<int W>() {
      launch(stream, delta_kernel<W, T>, num_tiles(rows, kThreads / kLanes), kThreads, 0, aids.delta, dout, out, rows,
             d);
    });
  });
  if (a.starts) {
    const std::int64_t tiles = num_tiles(a.dims.length, tile_rows);
    aids.smallest = scratch.take<std::int32_t>(tiles * d.sequences);
    launch(stream, smallest_kernel, tiles * d.sequences, 32, 0, aids.smallest, a.starts.data<std::int32_t>(), tile_rows,
           tiles, d);
  }
  return aids;
}

void attention_forward(const Stream& stream, const AttentionForward& a, Scratch scratch) {
  if (attention_plan(stream, a.dims, a.qkv, a.starts).cudnn_forward) return cudnn_attention_forward(stream, a, scratch);
  if (a.qkv.dtype() == DType::kBF16) return flash_forward_bf16(stream, a);
  flash_forward_f32(stream, a);
}

void attention_backward(const Stream& stream, const AttentionBackward& a, Scratch scratch) {
  if (attention_plan(stream, a.dims, a.qkv, a.starts).cudnn_backward)
    return cudnn_attention_backward(stream, a, scratch);
  if (a.qkv.dtype() == DType::kBF16) return flash_backward_bf16(stream, a, scratch);
  flash_backward_f32(stream, a, scratch);
}

}  // namespace spikesink::kernels::cuda
