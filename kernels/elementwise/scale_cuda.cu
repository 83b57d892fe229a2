#include "kernels/core/column_sums.h"
#include "kernels/core/map.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/elementwise/scale.h"

namespace spikesink::kernels::cuda {
namespace {

template <int W, class T>
__global__ void __launch_bounds__(kMapThreads) forward_kernel(T* y, const T* x, const T* s, std::int64_t n) {
  const float factor = static_cast<float>(*s);
  map<W>(
      y, n, [=](float v) { return factor * v; }, x);
}

/// A run of elements a block, two accesses of each input under way a thread. dx may be dy.
template <int W, class T>
__global__ void __launch_bounds__(kMapThreads)
    backward_kernel(T* dx, float* partial, const T* dy, const T* x, const T* s, std::int64_t n) {
  constexpr int kAccesses = kMapAccesses<2>;
  constexpr std::int64_t kStride = std::int64_t{kMapThreads} * W;
  const float factor = static_cast<float>(*s);
  const std::int64_t vectors = n / W;
  const std::int64_t begin = blockIdx.x * vectors / gridDim.x * W, end = (blockIdx.x + 1) * vectors / gridDim.x * W;
  float sum = 0;
  for (std::int64_t first = begin + threadIdx.x * W; first < end; first += kAccesses * kStride) {
    Packed<T, W> d[kAccesses], v[kAccesses];
#pragma unroll
    for (int u = 0; u < kAccesses; ++u)
      if (const std::int64_t at = first + u * kStride; at < end) {
        d[u] = load_packed<W>(dy + at);
        v[u] = load_packed<W>(x + at);
      }
#pragma unroll
    for (int u = 0; u < kAccesses; ++u)
      if (const std::int64_t at = first + u * kStride; at < end) {
        auto out = floats(d[u]);
#pragma unroll
        for (int i = 0; i < W; ++i) {
          sum += out.at[i] * v[u].at(i);
          out.at[i] *= factor;
        }
        store(dx + at, out);
      }
  }
  // What is left over, less than an access, goes to the first threads.
  if (const std::int64_t at = vectors * W + threadIdx.x; W > 1 && blockIdx.x == 0 && at < n) {
    const float d = static_cast<float>(dy[at]);
    sum += d * static_cast<float>(x[at]);
    dx[at] = static_cast<T>(factor * d);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
}  // namespace

void scale_forward(const Stream& stream, const ScaleForward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    T *const y = a.y.data<T>(), *const x = a.x.data<T>();
    const std::int64_t n = a.x.numel();
    with_width<T>(aligned_16({y, x}), [&]<int W>() {
      launch(stream, forward_kernel<W, T>, map_blocks<W, 1>(n), kMapThreads, 0, y, x, a.s.data<T>(), n);
    });
  });
}

void scale_backward(const Stream& stream, const ScaleBackward& a, Scratch scratch) {
  const std::int64_t n = a.x.numel(), P = num_scale_blocks(n);
  float* const partial = scratch.take<float>(P);
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    T *const dx = a.dx.data<T>(), *const dy = a.dy.data<T>(), *const x = a.x.data<T>();
    with_width<T>(aligned_16({dx, dy, x}), [&]<int W>() {
      launch(stream, backward_kernel<W, T>, P, kMapThreads, 0, dx, partial, dy, x, a.s.data<T>(), n);
    });
  });
  add_column_sums(stream, a.ds.data<float>(), partial, P, 1);
}

}  // namespace spikesink::kernels::cuda
