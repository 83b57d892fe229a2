#include "kernels/norm/rms_norm.h"
#include "kernels/norm/rms_norm_math.h"
#include "kernels/norm/rows.cuh"

namespace spikesink::kernels::cuda {
namespace {

/// y may be x: a thread writes only what it alone reads.
template <class Form, class T>
__global__ void __launch_bounds__(Form::kMaxThreads)
    forward_kernel(T* y, float* rstd, const T* x, const T* weight, std::int64_t N, std::int64_t C, float eps) {
  constexpr int W = Form::W;
  const std::int64_t n = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y, chunk = chunk_width<Form>();
  if (n >= N) return;  // a whole warp; of a row that has the block, never
  RowPart<Form, T> part;
  float squares = 0;
  for (std::int64_t at = 0; at < C; at += chunk) {
    load_part(part, x + n * C, at, C);
    for_part<Form>(at, C, [&](int v, std::int64_t) {
      const auto a = floats(part.at[v]);
#pragma unroll
      for (int i = 0; i < W; ++i) squares += a.at[i] * a.at[i];
    });
  }
  const float r = 1 / sqrtf(team_sum<Form>(squares) / static_cast<float>(C) + eps);
  for (std::int64_t at = 0; at < C; at += chunk) {
    if constexpr (!Form::kWhole) load_part(part, x + n * C, at, C);
    for_part<Form>(at, C, [&](int v, std::int64_t c) {
      auto a = floats(part.at[v]);
      const auto w = load<W>(weight + c);
#pragma unroll
      for (int i = 0; i < W; ++i) a.at[i] = math::rms_norm(a.at[i], r, w.at[i]);
      store(y + n * C + c, a);
    });
  }
  if (threadIdx.x == 0) rstd[n] = r;
}

struct Norm {
  static constexpr int kDots = 1, kSums = 1;
  static constexpr bool kScalar = false;
  struct Row {
    float rstd, shrink;
  };
  struct Element {
    float dx, sums[1];
  };
  const float* rstd;

  __device__ Row row(std::int64_t n) const { return {rstd[n], 0}; }
  __device__ Floats<1> dots(const Row&, float x, float weight, float dy) const { return {{weight * dy * x}}; }
  __device__ void finish(Row& row, const Floats<1>& dots, float C) const {
    row.shrink = math::rms_norm_shrink(dots.at[0], row.rstd, C);
  }
  __device__ Element element(const Row& row, float x, float weight, float dy) const {
    return {math::rms_norm_dx(dy, x, weight, row.rstd, row.shrink), {math::rms_norm_dweight(dy, x, row.rstd)}};
  }
};
}  // namespace

void rms_norm_forward(const Stream& stream, const RmsNormForward& a) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    T *const y = a.y.data<T>(), *const x = a.x.data<T>(), *const weight = a.weight.data<T>();
    with_row_form<T>(C % kWidth<T> == 0 && aligned_16({y, x, weight}), C, [&, N = N, C = C]<class Form>() {
      const Extent block = Form::block(C);
      launch(stream, forward_kernel<Form, T>, (N + block.y - 1) / block.y, block, 0, y, a.rstd.data<float>(), x, weight,
             N, C, static_cast<float>(a.eps));
    });
  });
}

void rms_norm_backward(const Stream& stream, const RmsNormBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  float* const partial = scratch.take<float>(num_row_blocks(N) * C);
  with_cuda_dtype(a.x.dtype(), [&, N = N, C = C]<class T>() {
    norm_backward<Norm, T>(stream, {a.rstd.data<float>()}, a.dx.data<T>(), {a.dweight.data<float>()}, nullptr, partial,
                           a.dy.data<T>(), a.x.data<T>(), a.weight.data<T>(), N, C, a.accumulate);
  });
}

}  // namespace spikesink::kernels::cuda
