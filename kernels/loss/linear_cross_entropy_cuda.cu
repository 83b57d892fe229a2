#include <algorithm>
#include <limits>

#include "kernels/core/launch.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/linear/gemm_cuda.h"
#include "kernels/loss/linear_cross_entropy.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// The largest of a block's values, NaN aside, in each of its threads. A barrier for the block.
__device__ float block_max(float x) {
  __shared__ float partial[32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  __syncthreads();  // the maximum before this one has been read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) x = fmaxf(x, partial[warp]);
  return x;
}

/// e^(z - top), exactly 1 for the largest.
__device__ float exp_below(float z, float top) { return exp2f((z - top) * 1.44269504f); }

/// One block a row: its loss, and with `grad` the logits (stride S >= V) become (softmax - onehot) * grad_scale. Read
/// once for maximum and sum together, and then once more from the end, where the caches still have it.
template <bool grad, int W, class T>
__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(T* logits, float* loss, const std::int32_t* targets,
                                                                 std::int64_t V, std::int64_t S, float grad_scale) {
  const std::int32_t target = targets[blockIdx.x];
  T* const z = logits + blockIdx.x * S;
  const std::int64_t first = threadIdx.x * W, stride = std::int64_t{kThreads} * W;
  if (target < 0) {
    if (threadIdx.x == 0) loss[blockIdx.x] = 0;
    if (grad)
      for (std::int64_t v = first; v < V; v += stride) store(z + v, Floats<W>{});
    return;
  }

  const float correct = static_cast<float>(z[target]);  // before the barriers of the sums, and z is written after
  float top = kMinusInfinity, sum = 0;                  // of the logits that this thread has read
#pragma unroll 4
  for (std::int64_t v = first; v < V; v += stride) {
    auto x = load<W>(z + v);
    float higher = top;
#pragma unroll
    for (int i = 0; i < W; ++i) {
      if (v + i >= V) x.at[i] = kMinusInfinity;  // behind the row's end
      higher = fmaxf(higher, x.at[i]);
    }
    sum *= exp_below(top, higher);
    top = higher;
#pragma unroll
    for (int i = 0; i < W; ++i) sum += exp_below(x.at[i], top);
  }
  const float row_top = block_max(top);
  const float row_sum = block_sum(sum * exp_below(top, row_top));
  if (threadIdx.x == 0) loss[blockIdx.x] = logf(row_sum) + row_top - correct;
  if (!grad) return;

  const float scale = grad_scale / row_sum;
  const std::int64_t steps = first < V ? (V - first + stride - 1) / stride : 0;
#pragma unroll 2
  for (std::int64_t step = steps - 1; step >= 0; --step) {
    const std::int64_t v = first + step * stride;
    auto x = load<W>(z + v);
#pragma unroll
    for (int i = 0; i < W; ++i) {
      x.at[i] = exp_below(x.at[i], row_top) * scale;
      if (v + i == target) x.at[i] -= grad_scale;
    }
    store(z + v, x);
  }
}
}  // namespace

void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t V = a.weight.shape()[0], S = logits_stride(V);
  const std::int64_t chunk = cross_entropy_chunk(Device::kCuda, N, V, a.chunk_elements);
  const DType dtype = a.x.dtype();
  void* const workspace = scratch.take<std::byte>(kGemmWorkspaceBytes);
  with_cuda_dtype(dtype, [&, N = N, C = C]<class T>() {
    T* const logits = scratch.take<T>(chunk * S);
    const Operand weight{a.weight.raw(), C};
    for (std::int64_t first = 0; first < N; first += chunk) {
      const std::int64_t R = std::min(chunk, N - first);
      const Operand x{a.x.data<T>() + first * C, C};
      gemm(stream,
           {.c = logits,
            .c_dtype = dtype,
            .c_stride = S,
            .a = x,
            .b = {weight.data, C, true},
            .dtype = dtype,
            .rows = R,
            .cols = V,
            .inner = C},
           workspace);
      launch(stream, a.dx ? cross_entropy_kernel<true, kWidth<T>, T> : cross_entropy_kernel<false, kWidth<T>, T>, R,
             kThreads, 0, logits, a.loss.data<float>() + first, a.targets.data<std::int32_t>() + first, V, S,
             static_cast<float>(a.grad_scale));
      if (!a.dx) continue;
      gemm(stream,
           {.c = a.dx.data<T>() + first * C,
            .c_dtype = dtype,
            .c_stride = C,
            .a = {logits, S},
            .b = weight,
            .dtype = dtype,
            .rows = R,
            .cols = C,
            .inner = V},
           workspace);
      gemm(stream,
           {.c = a.dweight.raw(),
            .c_dtype = DType::kF32,
            .c_stride = C,
            .a = {logits, S, true},
            .b = x,
            .dtype = dtype,
            .rows = V,
            .cols = C,
            .inner = R,
            .adds = true},
           workspace);
    }
  });
}

}  // namespace spikesink::kernels::cuda
