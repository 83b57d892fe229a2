#include "kernels/core/launch.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/optim/sum_of_squares.h"

namespace spikesink::kernels::cuda {
namespace {

// Products and sums are doubles throughout: a GPU for training converts and multiplies them several times faster than
// memory delivers, and one without fast doubles about as fast.
constexpr int kThreads = 256, kTotalThreads = 1024;

template <int W, class T>
__device__ double squares(const T* x) {
  const auto v = load<W>(x);
  double sum = 0;
#pragma unroll
  for (int i = 0; i < W; ++i) sum += static_cast<double>(v.at[i]) * static_cast<double>(v.at[i]);
  return sum;
}

/// The sum over each run of kSquaresBlock. The cut depends on n only, and with it the order.
template <int W, class T>
__global__ void block_sums_kernel(double* sums, const T* x, std::int64_t n) {
  const std::int64_t begin = blockIdx.x * kSquaresBlock, size = n - begin < kSquaresBlock ? n - begin : kSquaresBlock;
  x += begin;
  double sum = 0;
#pragma unroll 4
  for (std::int64_t i = threadIdx.x; i < size / W; i += kThreads) sum += squares<W>(x + i * W);
  for (std::int64_t i = size / W * W + threadIdx.x; i < size; i += kThreads) sum += squares<1>(x + i);
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// One block.
__global__ void total_kernel(double* total, const double* sums, std::int64_t n) {
  double sum = 0;
#pragma unroll 8
  for (std::int64_t i = threadIdx.x; i < n; i += kTotalThreads) sum += sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}
}  // namespace

void sum_of_squares(const Stream& stream, const SumOfSquares& a, Scratch scratch) {
  const auto blocks = [](const Tensor& t) { return (t.numel() + kSquaresBlock - 1) / kSquaresBlock; };
  std::int64_t num_blocks = 0;
  for (const Tensor& t : a.tensors) num_blocks += blocks(t);
  double* const sums = scratch.take<double>(num_blocks);
  double* at = sums;
  for (const Tensor& t : a.tensors) {
    with_cuda_dtype(t.dtype(), [&]<class T>() {
      T* const x = t.data<T>();
      with_width<T>(aligned_16({x}), [&]<int W>() {
        launch(stream, block_sums_kernel<W, T>, blocks(t), kThreads, 0, at, x, t.numel());
      });
    });
    at += blocks(t);
  }
  launch(stream, total_kernel, 1, kTotalThreads, 0, a.total.data<double>(), sums, num_blocks);
}

}  // namespace spikesink::kernels::cuda
