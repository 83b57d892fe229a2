#include "kernels/core/cells.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/ffn/silu_mul.h"
#include "kernels/ffn/silu_mul_math.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kRows = 2;  // of a thread, whose accesses are then all under way at once

template <int W, class T>
__global__ void __launch_bounds__(Cells::kThreads)
    forward_kernel(T* y, const T* gate_up, std::int64_t N, std::int64_t F) {
  const Cell at = cell(F / W, kRows);
  const std::int64_t f = at.step * W;
  if (f >= F) return;
  Packed<T, W> gate[kRows], up[kRows];
#pragma unroll
  for (int u = 0; u < kRows; ++u)
    if (const std::int64_t n = at.row + u * at.stride; n < N) {
      gate[u] = load_packed<W>(gate_up + n * 2 * F + f);
      up[u] = load_packed<W>(gate_up + n * 2 * F + F + f);
    }
#pragma unroll
  for (int u = 0; u < kRows; ++u) {
    const std::int64_t n = at.row + u * at.stride;
    if (n >= N) return;
    auto out = floats(gate[u]);
#pragma unroll
    for (int i = 0; i < W; ++i) out.at[i] = math::silu_mul(out.at[i], up[u].at(i));
    store(y + n * F + f, out);
  }
}

template <int W, class T>
__global__ void __launch_bounds__(Cells::kThreads)
    backward_kernel(T* dgate_up, const T* dy, const T* gate_up, std::int64_t N, std::int64_t F) {
  const Cell at = cell(F / W, kRows);
  const std::int64_t f = at.step * W;
  if (f >= F) return;
  Packed<T, W> gate[kRows], up[kRows], d[kRows];
#pragma unroll
  for (int u = 0; u < kRows; ++u)
    if (const std::int64_t n = at.row + u * at.stride; n < N) {
      gate[u] = load_packed<W>(gate_up + n * 2 * F + f);
      up[u] = load_packed<W>(gate_up + n * 2 * F + F + f);
      d[u] = load_packed<W>(dy + n * F + f);
    }
#pragma unroll
  for (int u = 0; u < kRows; ++u) {
    const std::int64_t n = at.row + u * at.stride;
    if (n >= N) return;
    Floats<W> dgate, dup;
#pragma unroll
    for (int i = 0; i < W; ++i) {
      const auto gradient = math::silu_mul_gradient(gate[u].at(i), up[u].at(i), d[u].at(i));
      dgate.at[i] = gradient.gate;
      dup.at[i] = gradient.up;
    }
    store(dgate_up + n * 2 * F + f, dgate);
    store(dgate_up + n * 2 * F + F + f, dup);
  }
}
}  // namespace

void silu_mul_forward(const Stream& stream, const SiluMulForward& a) {
  with_cuda_dtype(a.y.dtype(), [&]<class T>() {
    const auto [N, F] = matrix_dims(a.y);
    T *const y = a.y.data<T>(), *const gate_up = a.gate_up.data<T>();
    with_width<T>(F % kWidth<T> == 0 && aligned_16({y, gate_up}), [&, N = N, F = F]<int W>() {
      const Cells cells(N, F / W, kRows);
      launch(stream, forward_kernel<W, T>, cells.grid, cells.block, 0, y, gate_up, N, F);
    });
  });
}

void silu_mul_backward(const Stream& stream, const SiluMulBackward& a) {
  with_cuda_dtype(a.dy.dtype(), [&]<class T>() {
    const auto [N, F] = matrix_dims(a.dy);
    T *const dgate_up = a.dgate_up.data<T>(), *const dy = a.dy.data<T>(), *const gate_up = a.gate_up.data<T>();
    with_width<T>(F % kWidth<T> == 0 && aligned_16({dgate_up, dy, gate_up}), [&, N = N, F = F]<int W>() {
      const Cells cells(N, F / W, kRows);
      launch(stream, backward_kernel<W, T>, cells.grid, cells.block, 0, dgate_up, dy, gate_up, N, F);
    });
  });
}

}  // namespace spikesink::kernels::cuda
