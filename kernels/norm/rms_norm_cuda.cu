#include "kernels/core/column_sums.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/norm/rms_norm.h"
#include "kernels/norm/rms_norm_math.h"

namespace spikesink::kernels::cuda {
namespace {

/// One block a row. y may be x: a thread writes only what it alone reads.
template <int W, class T>
__global__ void forward_kernel(T* y, float* rstd, const T* x, const T* weight, std::int64_t C, float eps) {
  const std::int64_t n = blockIdx.x, stride = std::int64_t{blockDim.x} * W;
  x += n * C;
  y += n * C;
  float squares = 0;
  for (std::int64_t c = threadIdx.x * W; c < C; c += stride) {
    const auto v = load<W>(x + c);
#pragma unroll
    for (int i = 0; i < W; ++i) squares += v.at[i] * v.at[i];
  }
  const float r = 1 / sqrtf(block_sum(squares) / static_cast<float>(C) + eps);
  for (std::int64_t c = threadIdx.x * W; c < C; c += stride) {
    auto v = load<W>(x + c);
    const auto w = load<W>(weight + c);
#pragma unroll
    for (int i = 0; i < W; ++i) v.at[i] = math::rms_norm(v.at[i], r, w.at[i]);
    store(y + c, v);
  }
  if (threadIdx.x == 0) rstd[n] = r;
}

/// A run of rows a block, whose part of dweight gathers in shared memory, each channel by the one thread that has it in
/// every row. dx may be dy.
template <int W, class T>
__global__ void backward_kernel(T* dx, float* partial, const T* dy, const T* x, const T* weight, const float* rstd,
                                std::int64_t N, std::int64_t C) {
  float* const sums = dynamic_shared<float>();  // (C)
  const std::int64_t first = threadIdx.x * W, stride = std::int64_t{blockDim.x} * W;
  for (std::int64_t c = first; c < C; c += stride) store(sums + c, Floats<W>{});
  const std::int64_t begin = blockIdx.x * N / gridDim.x, end = (blockIdx.x + 1) * N / gridDim.x;
  for (std::int64_t n = begin; n < end; ++n) {
    float dot = 0;
    for (std::int64_t c = first; c < C; c += stride) {
      const auto d = load<W>(dy + n * C + c), v = load<W>(x + n * C + c), w = load<W>(weight + c);
#pragma unroll
      for (int i = 0; i < W; ++i) dot += w.at[i] * d.at[i] * v.at[i];
    }
    const float r = rstd[n], shrink = math::rms_norm_shrink(block_sum(dot), r, static_cast<float>(C));
    for (std::int64_t c = first; c < C; c += stride) {
      auto d = load<W>(dy + n * C + c);
      const auto v = load<W>(x + n * C + c), w = load<W>(weight + c);
      auto sum = load<W>(sums + c);
#pragma unroll
      for (int i = 0; i < W; ++i) {
        sum.at[i] += math::rms_norm_dweight(d.at[i], v.at[i], r);
        d.at[i] = math::rms_norm_dx(d.at[i], v.at[i], w.at[i], r, shrink);
      }
      store(sums + c, sum);
      store(dx + n * C + c, d);
    }
  }
  for (std::int64_t c = first; c < C; c += stride) store(partial + blockIdx.x * C + c, load<W>(sums + c));
}
}  // namespace

void rms_norm_forward(const Stream& stream, const RmsNormForward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    T *const y = a.y.data<T>(), *const x = a.x.data<T>(), *const weight = a.weight.data<T>();
    with_width<T>(C % kWidth<T> == 0 && aligned_16({y, x, weight}), [&, N = N, C = C]<int W>() {
      launch(stream, forward_kernel<W, T>, N, row_threads(C / W), 0, y, a.rstd.data<float>(), x, weight, C,
             static_cast<float>(a.eps));
    });
  });
}

void rms_norm_backward(const Stream& stream, const RmsNormBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t P = num_row_blocks(N);
  float* const partial = scratch.take<float>(P * C);
  with_cuda_dtype(a.x.dtype(), [&, N = N, C = C]<class T>() {
    T *const dx = a.dx.data<T>(), *const dy = a.dy.data<T>(), *const x = a.x.data<T>(),
             *const weight = a.weight.data<T>();
    with_width<T>(C % kWidth<T> == 0 && aligned_16({dx, dy, x, weight}), [&]<int W>() {
      launch(stream, backward_kernel<W, T>, P, row_threads(C / W), C * size_of(DType::kF32), dx, partial, dy, x, weight,
             a.rstd.data<float>(), N, C);
    });
  });
  add_column_sums(stream, a.dweight.data<float>(), partial, P, C);
}

}  // namespace spikesink::kernels::cuda
