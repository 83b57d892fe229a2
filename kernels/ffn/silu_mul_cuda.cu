#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/ffn/silu_mul.h"
#include "kernels/ffn/silu_mul_math.h"

namespace spikesink::kernels::cuda {
namespace {

/// Blocks (n, part of the row), one access of W elements a thread.
template <int W, class T>
__global__ void forward_kernel(T* y, const T* gate_up, std::int64_t F) {
  const std::int64_t n = blockIdx.x, f = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * W;
  if (f >= F) return;
  auto gate = load<W>(gate_up + n * 2 * F + f);
  const auto up = load<W>(gate_up + n * 2 * F + F + f);
#pragma unroll
  for (int i = 0; i < W; ++i) gate.at[i] = math::silu_mul(gate.at[i], up.at[i]);
  store(y + n * F + f, gate);
}

template <int W, class T>
__global__ void backward_kernel(T* dgate_up, const T* dy, const T* gate_up, std::int64_t F) {
  const std::int64_t n = blockIdx.x, f = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * W;
  if (f >= F) return;
  auto gate = load<W>(gate_up + n * 2 * F + f), up = load<W>(gate_up + n * 2 * F + F + f);
  const auto d = load<W>(dy + n * F + f);
#pragma unroll
  for (int i = 0; i < W; ++i) {
    const auto gradient = math::silu_mul_gradient(gate.at[i], up.at[i], d.at[i]);
    gate.at[i] = gradient.gate;
    up.at[i] = gradient.up;
  }
  store(dgate_up + n * 2 * F + f, gate);
  store(dgate_up + n * 2 * F + F + f, up);
}

/// Blocks for `steps` steps in each of N rows.
Extent grid(std::int64_t N, std::int64_t steps) { return {N, (steps + row_threads(steps) - 1) / row_threads(steps)}; }
}  // namespace

void silu_mul_forward(const Stream& stream, const SiluMulForward& a) {
  with_cuda_dtype(a.y.dtype(), [&]<class T>() {
    const auto [N, F] = matrix_dims(a.y);
    T *const y = a.y.data<T>(), *const gate_up = a.gate_up.data<T>();
    with_width<T>(F % kWidth<T> == 0 && aligned_16({y, gate_up}), [&, N = N, F = F]<int W>() {
      launch(stream, forward_kernel<W, T>, grid(N, F / W), row_threads(F / W), 0, y, gate_up, F);
    });
  });
}

void silu_mul_backward(const Stream& stream, const SiluMulBackward& a) {
  with_cuda_dtype(a.dy.dtype(), [&]<class T>() {
    const auto [N, F] = matrix_dims(a.dy);
    T *const dgate_up = a.dgate_up.data<T>(), *const dy = a.dy.data<T>(), *const gate_up = a.gate_up.data<T>();
    with_width<T>(F % kWidth<T> == 0 && aligned_16({dgate_up, dy, gate_up}), [&, N = N, F = F]<int W>() {
      launch(stream, backward_kernel<W, T>, grid(N, F / W), row_threads(F / W), 0, dgate_up, dy, gate_up, F);
    });
  });
}

}  // namespace spikesink::kernels::cuda
