#include "kernels/core/map.cuh"
#include "kernels/elementwise/add.h"

namespace spikesink::kernels::cuda {
namespace {

template <int W, class T>
__global__ void __launch_bounds__(kMapThreads) add_kernel(T* y, const T* a, const T* b, std::int64_t n) {
  map<W>(
      y, n, [](float u, float v) { return u + v; }, a, b);
}
}  // namespace

void add(const Stream& stream, const Add& args) {
  with_cuda_dtype(args.y.dtype(), [&]<class T>() {
    T *const y = args.y.data<T>(), *const a = args.a.data<T>(), *const b = args.b.data<T>();
    const std::int64_t n = args.y.numel();
    with_width<T>(aligned_16({y, a, b}),
                  [&]<int W>() { launch(stream, add_kernel<W, T>, map_blocks<W, 2>(n), kMapThreads, 0, y, a, b, n); });
  });
}

}  // namespace spikesink::kernels::cuda
