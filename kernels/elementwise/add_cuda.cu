#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/elementwise/add.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// One access of W elements a thread; what is left over goes to the threads behind, one element each. No __restrict__:
/// y may be a or b.
template <int W, class T>
__global__ void add_kernel(T* y, const T* a, const T* b, std::int64_t n) {
  const auto step = [=]<int width>(std::int64_t at) {
    const auto u = load<width>(a + at), v = load<width>(b + at);
    Floats<width> sum;
#pragma unroll
    for (int i = 0; i < width; ++i) sum.at[i] = u.at[i] + v.at[i];
    store(y + at, sum);
  };
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x, vectors = n / W;
  if (i < vectors)
    step.template operator()<W>(i * W);
  else if (const std::int64_t at = vectors * W + (i - vectors); at < n)
    step.template operator()<1>(at);
}
}  // namespace

void add(const Stream& stream, const Add& args) {
  with_cuda_dtype(args.y.dtype(), [&]<class T>() {
    T *const y = args.y.data<T>(), *const a = args.a.data<T>(), *const b = args.b.data<T>();
    const std::int64_t n = args.y.numel();
    with_width<T>(aligned_16({y, a, b}), [&]<int W>() {
      launch(stream, add_kernel<W, T>, (n / W + n % W + kThreads - 1) / kThreads, kThreads, 0, y, a, b, n);
    });
  });
}

}  // namespace spikesink::kernels::cuda
