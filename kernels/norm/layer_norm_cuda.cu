#include "kernels/norm/layer_norm.h"
#include "kernels/norm/layer_norm_math.h"
#include "kernels/norm/rows.cuh"

namespace spikesink::kernels::cuda {
namespace {

/// y may be x: a thread writes only what it alone reads. The variance is that of differences, since squares would
/// cancel far from 0.
template <class Form, class T>
__global__ void __launch_bounds__(Form::kMaxThreads)
    forward_kernel(T* y, float* mean, float* rstd, const T* x, const T* weight, const T* bias, std::int64_t N,
                   std::int64_t C, float eps) {
  constexpr int W = Form::W;
  const std::int64_t n = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y, chunk = chunk_width<Form>();
  if (n >= N) return;  // a whole warp; of a row that has the block, never
  RowPart<Form, T> part;
  float sum = 0;
  for (std::int64_t at = 0; at < C; at += chunk) {
    load_part(part, x + n * C, at, C);
    for_part<Form>(at, C, [&](int v, std::int64_t) {
      const auto a = floats(part.at[v]);
#pragma unroll
      for (int i = 0; i < W; ++i) sum += a.at[i];
    });
  }
  const float m = team_sum<Form>(sum) / static_cast<float>(C);
  float squares = 0;
  for (std::int64_t at = 0; at < C; at += chunk) {
    if constexpr (!Form::kWhole) load_part(part, x + n * C, at, C);
    for_part<Form>(at, C, [&](int v, std::int64_t) {
      const auto a = floats(part.at[v]);
#pragma unroll
      for (int i = 0; i < W; ++i) squares += (a.at[i] - m) * (a.at[i] - m);
    });
  }
  const float r = 1 / sqrtf(team_sum<Form>(squares) / static_cast<float>(C) + eps);
  for (std::int64_t at = 0; at < C; at += chunk) {
    if constexpr (!Form::kWhole) load_part(part, x + n * C, at, C);
    for_part<Form>(at, C, [&](int v, std::int64_t c) {
      auto a = floats(part.at[v]);
      const auto w = load<W>(weight + c), b = load<W>(bias + c);
#pragma unroll
      for (int i = 0; i < W; ++i) a.at[i] = math::layer_norm(a.at[i], m, r, w.at[i], b.at[i]);
      store(y + n * C + c, a);
    });
  }
  if (threadIdx.x == 0) {
    mean[n] = m;
    rstd[n] = r;
  }
}

struct Norm {
  static constexpr int kDots = 2, kSums = 2;
  static constexpr bool kScalar = false;
  using Row = math::LayerNormRow<float>;
  struct Element {
    float dx, sums[2];
  };
  const float *mean, *rstd;

  __device__ Row row(std::int64_t n) const { return {mean[n], rstd[n], 0, 0}; }
  __device__ Floats<2> dots(const Row& row, float x, float weight, float dy) const {
    return {{weight * dy, weight * dy * (x - row.mean)}};
  }
  __device__ void finish(Row& row, const Floats<2>& dots, float C) const {
    row.shift = dots.at[0] / C;
    row.shrink = dots.at[1] * row.rstd / C;
  }
  __device__ Element element(const Row& row, float x, float weight, float dy) const {
    const float z = math::layer_norm_z(x, row);
    return {math::layer_norm_dx(dy, z, weight, row), {dy * z, dy}};
  }
};
}  // namespace

void layer_norm_forward(const Stream& stream, const LayerNormForward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    T *const y = a.y.data<T>(), *const x = a.x.data<T>(), *const weight = a.weight.data<T>(),
             *const bias = a.bias.data<T>();
    with_row_form<T>(C % kWidth<T> == 0 && aligned_16({y, x, weight, bias}), C, [&, N = N, C = C]<class Form>() {
      const Extent block = Form::block(C);
      launch(stream, forward_kernel<Form, T>, (N + block.y - 1) / block.y, block, 0, y, a.mean.data<float>(),
             a.rstd.data<float>(), x, weight, bias, N, C, static_cast<float>(a.eps));
    });
  });
}

void layer_norm_backward(const Stream& stream, const LayerNormBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  float* const partial = scratch.take<float>(num_row_blocks(N) * 2 * C);
  with_cuda_dtype(a.x.dtype(), [&, N = N, C = C]<class T>() {
    norm_backward<Norm, T>(stream, {a.mean.data<float>(), a.rstd.data<float>()}, a.dx.data<T>(),
                           {a.dweight.data<float>(), a.dbias.data<float>()}, nullptr, partial, a.dy.data<T>(),
                           a.x.data<T>(), a.weight.data<T>(), N, C, a.accumulate);
  });
}

}  // namespace spikesink::kernels::cuda
