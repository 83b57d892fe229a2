#include "kernels/core/launch.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/metrics/gate_statistics_math.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

struct Outputs {
  float *mean, *variance, *first;
  std::int32_t* counts;
};

/// A head of a sequence a block. Each thread counts for itself, since gate values that are alike would meet in one sum.
template <class T>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(Outputs out, const T* logits, std::int64_t length, std::int64_t G, std::int64_t H) {
  __shared__ std::int32_t counts[kGateBins][kThreads];
  const std::int64_t W = G / H, head = blockIdx.x % H;
  logits += blockIdx.x / H * length * G + head * W;
  const auto n = static_cast<std::uint32_t>(length * W), width = static_cast<std::uint32_t>(W);
  const auto value = [&](std::uint32_t i) {
    return math::sigmoid(static_cast<float>(logits[i / width * G + i % width]));
  };
  for (int bin = 0; bin < kGateBins; ++bin) counts[bin][threadIdx.x] = 0;
  float sum = 0, at_first = 0;
  for (std::uint32_t i = threadIdx.x; i < n; i += kThreads) {
    const float s = value(i);
    sum += s;
    if (i < width) at_first += s;
    if (const int bin = math::gate_bin(s); bin < kGateBins) ++counts[bin][threadIdx.x];
  }
  const float mean = block_sum(sum) / static_cast<float>(n);
  at_first = block_sum(at_first);
  float squares = 0;
  for (std::uint32_t i = threadIdx.x; i < n; i += kThreads) {
    const float apart = value(i) - mean;
    squares += apart * apart;
  }
  squares = block_sum(squares);  // behind whose barriers all counts are seen
  for (int bin = static_cast<int>(threadIdx.x) / 32; bin < kGateBins; bin += kWarps) {
    std::int32_t count = 0;
    for (int thread = static_cast<int>(threadIdx.x) % 32; thread < kThreads; thread += 32) count += counts[bin][thread];
    count = warp_sum(count);
    if (threadIdx.x % 32 == 0) out.counts[std::int64_t{blockIdx.x} * kGateBins + bin] = count;
  }
  if (threadIdx.x != 0) return;
  out.mean[blockIdx.x] = mean;
  out.variance[blockIdx.x] = squares / static_cast<float>(n);
  out.first[blockIdx.x] = at_first / static_cast<float>(W);
}
}  // namespace

void gate_statistics(const Stream& stream, const GateStatistics& a) {
  with_cuda_dtype(a.logits.dtype(), [&]<class T>() {
    launch(
        stream, statistics_kernel<T>, a.mean.numel(), kThreads, 0,
        Outputs{a.mean.data<float>(), a.variance.data<float>(), a.first.data<float>(), a.counts.data<std::int32_t>()},
        a.logits.data<T>(), a.length, matrix_dims(a.logits).cols, matrix_dims(a.mean).cols);
  });
}

}  // namespace spikesink::kernels::cuda
