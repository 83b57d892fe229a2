#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/shards/sum_of_parts.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// W elements a thread. Parts do not wait for each other's sums, so several are under way at once.
template <int W, class T>
__global__ void __launch_bounds__(kThreads)
    sum_of_parts_kernel(float* y, const T* parts, std::int64_t num_parts, std::int64_t n) {
  const std::int64_t at = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * W;
  if (at >= n) return;
  Floats<W> sum = load<W>(parts + at);
#pragma unroll 4
  for (std::int64_t r = 1; r < num_parts; ++r) {
    const Floats<W> part = load<W>(parts + r * n + at);
#pragma unroll
    for (int i = 0; i < W; ++i) sum.at[i] += part.at[i];
  }
  store(y + at, sum);
}

/// For few elements.
__global__ void __launch_bounds__(kThreads)
    sum_of_doubles_kernel(double* y, const double* parts, std::int64_t num_parts, std::int64_t n) {
  const std::int64_t at = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= n) return;
  double sum = parts[at];
  for (std::int64_t r = 1; r < num_parts; ++r) sum += parts[r * n + at];
  y[at] = sum;
}

std::int64_t blocks(std::int64_t n, int width) { return (n + kThreads * width - 1) / (kThreads * width); }
}  // namespace

void sum_of_parts(const Stream& stream, const SumOfParts& args) {
  const std::int64_t num_parts = args.parts.shape()[0], n = args.y.numel();
  if (args.y.dtype() == DType::kF64) {
    launch(stream, sum_of_doubles_kernel, blocks(n, 1), kThreads, 0, args.y.data<double>(), args.parts.data<double>(),
           num_parts, n);
    return;
  }
  with_cuda_dtype(args.parts.dtype(), [&]<class T>() {
    auto* const y = args.y.data<float>();
    const T* const parts = args.parts.data<T>();
    with_width<T>(n % kWidth<T> == 0 && aligned_16({y, parts}), [&]<int W>() {
      launch(stream, sum_of_parts_kernel<W, T>, blocks(n, W), kThreads, 0, y, parts, num_parts, n);
    });
  });
}

}  // namespace spikesink::kernels::cuda
