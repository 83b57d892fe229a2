#include "kernels/core/dtype.cuh"
#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/elementwise/round.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256, kAccesses = 4, kWide = 4;

/// kAccesses accesses of W elements a thread, a block's width apart.
template <int W>
__global__ void __launch_bounds__(kThreads) round_kernel(__nv_bfloat16* y, const float* x, std::int64_t n) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * kAccesses * kThreads + threadIdx.x) * W;
  constexpr std::int64_t kStride = std::int64_t{kThreads} * W;
  Floats<W> values[kAccesses];
#pragma unroll
  for (int u = 0; u < kAccesses; ++u)
    if (const std::int64_t at = first + u * kStride; at + W <= n) values[u] = load<W>(x + at);
#pragma unroll
  for (int u = 0; u < kAccesses; ++u)
    if (const std::int64_t at = first + u * kStride; at + W <= n) store(y + at, values[u]);
  // What is left over, less than an access, goes to the first threads.
  if (const std::int64_t at = n / W * W + threadIdx.x; W > 1 && blockIdx.x == 0 && at < n)
    y[at] = static_cast<__nv_bfloat16>(x[at]);
}
}  // namespace

void round(const Stream& stream, const Round& args) {
  auto* const y = args.y.data<__nv_bfloat16>();
  float* const x = args.x.data<float>();
  const std::int64_t n = args.x.numel();
  const auto run = [&]<int W>() {
    constexpr std::int64_t kBlock = std::int64_t{kThreads} * kAccesses * W;
    launch(stream, round_kernel<W>, (n + kBlock - 1) / kBlock, kThreads, 0, y, x, n);
  };
  if (aligned_16({y, x}))
    run.template operator()<kWide>();
  else
    run.template operator()<1>();
}

}  // namespace spikesink::kernels::cuda
