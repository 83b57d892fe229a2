#include "kernels/core/dtype.cuh"
#include "kernels/core/launch.cuh"
#include "kernels/init/initialise.h"
#include "kernels/init/initialise_math.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256, kRounds = 8;  // elements a thread

template <class T>
__global__ void initialise_kernel(T* out, std::int64_t n, double mean, double std, Random random, std::int64_t first) {
  const std::int64_t begin = std::int64_t{blockIdx.x} * kThreads * kRounds;
  for (int round = 0; round < kRounds; ++round) {
    const std::int64_t i = begin + round * kThreads + threadIdx.x;
    if (i >= n) return;
    const double z = std > 0 ? math::truncated_normal(random, static_cast<std::uint64_t>(first + i)) : 0;
    out[i] = static_cast<T>(static_cast<float>(mean + std * z));
  }
}
}  // namespace

void initialise(const Stream& stream, const Initialise& a) {
  with_cuda_dtype(a.out.dtype(), [&]<class T>() {
    const std::int64_t n = a.out.numel(), blocks = (n + kThreads * kRounds - 1) / (kThreads * kRounds);
    launch(stream, initialise_kernel<T>, blocks, kThreads, 0, a.out.data<T>(), n, a.mean, a.std,
           Random{.seed = a.seed, .stream = a.stream}, a.first);
  });
}

}  // namespace spikesink::kernels::cuda
