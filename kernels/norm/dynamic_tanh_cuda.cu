#include "kernels/norm/dynamic_tanh.h"

#include "kernels/core/cells.cuh"
#include "kernels/norm/dynamic_tanh_math.h"
#include "kernels/norm/rows.cuh"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kRows = 4;  // of a thread, for which it reads the parameters once

/// y may be x: a thread writes only what it alone reads. bias may be null.
template <int W, class T>
__global__ void __launch_bounds__(Cells::kThreads)
    forward_kernel(T* y, const T* x, const T* weight, const T* bias, const T* alpha, std::int64_t N, std::int64_t C) {
  const Cell at = cell(C / W, kRows);
  const std::int64_t c = at.step * W;
  if (c >= C) return;
  Packed<T, W> raw[kRows];
#pragma unroll
  for (int u = 0; u < kRows; ++u)
    if (const std::int64_t n = at.row + u * at.stride; n < N) raw[u] = load_packed<W>(x + n * C + c);
  const auto w = load<W>(weight + c);
  const auto b = bias ? load<W>(bias + c) : Floats<W>{};
  const float a = static_cast<float>(*alpha);
#pragma unroll
  for (int u = 0; u < kRows; ++u) {
    const std::int64_t n = at.row + u * at.stride;
    if (n >= N) return;
    auto v = floats(raw[u]);
#pragma unroll
    for (int i = 0; i < W; ++i) v.at[i] = math::dynamic_tanh(v.at[i], w.at[i], a) + b.at[i];
    store(y + n * C + c, v);
  }
}

template <class T, bool kBias>
struct Norm {
  static constexpr int kDots = 0, kSums = kBias ? 2 : 1;
  static constexpr bool kScalar = true;
  struct Row {
    float alpha;
  };
  struct Element {
    float dx, sums[kSums], scalar;
  };
  const T* alpha;

  __device__ Row row(std::int64_t) const { return {static_cast<float>(*alpha)}; }
  __device__ Element element(const Row& row, float x, float weight, float dy) const {
    const auto d = math::dynamic_tanh_gradient(x, weight, row.alpha, dy);
    Element e;
    e.dx = d.x;
    e.sums[0] = d.weight;
    if constexpr (kBias) e.sums[1] = dy;
    e.scalar = d.alpha;
    return e;
  }
};
}  // namespace

void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    T *const y = a.y.data<T>(), *const x = a.x.data<T>(), *const weight = a.weight.data<T>(),
             *const bias = a.bias ? a.bias.data<T>() : nullptr;
    with_width<T>(C % kWidth<T> == 0 && aligned_16({y, x, weight, bias}), [&, N = N, C = C]<int W>() {
      const Cells cells(N, C / W, kRows);
      launch(stream, forward_kernel<W, T>, cells.grid, cells.block, 0, y, x, weight, bias, a.alpha.data<T>(), N, C);
    });
  });
}

void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  float* const partial = scratch.take<float>(num_row_blocks(N) * ((a.dbias ? 2 : 1) * C + 1));
  with_cuda_dtype(a.x.dtype(), [&, N = N, C = C]<class T>() {
    const auto run = [&, N = N, C = C]<bool kBias>(std::initializer_list<float*> sums) {
      norm_backward<Norm<T, kBias>, T>(stream, {a.alpha.data<T>()}, a.dx.data<T>(), sums, a.dalpha.data<float>(),
                                       partial, a.dy.data<T>(), a.x.data<T>(), a.weight.data<T>(), N, C, a.accumulate);
    };
    if (a.dbias)
      run.template operator()<true>({a.dweight.data<float>(), a.dbias.data<float>()});
    else
      run.template operator()<false>({a.dweight.data<float>()});
  });
}

}  // namespace spikesink::kernels::cuda
