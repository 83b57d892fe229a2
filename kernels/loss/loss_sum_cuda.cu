#include "kernels/core/launch.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/loss/loss_sum.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 1024;

/// One block: the losses of a pass are some hundred KB, so that a second launch would cost more than the wait.
__global__ void loss_sum_kernel(double* total, const float* losses, std::int64_t N) {
  double sum = 0;
#pragma unroll 8
  for (std::int64_t n = threadIdx.x; n < N; n += kThreads) sum += static_cast<double>(losses[n]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total += sum;
}
}  // namespace

void loss_sum(const Stream& stream, const LossSum& a) {
  launch(stream, loss_sum_kernel, 1, kThreads, 0, a.total.data<double>(), a.losses.data<float>(), a.losses.numel());
}

}  // namespace spikesink::kernels::cuda
