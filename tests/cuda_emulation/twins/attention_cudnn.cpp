#include "kernels/attention/attention_cudnn.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/core/dtype.cuh"
#include "tests/cuda_emulation/twins/library_call.h"

namespace spikesink::kernels::cuda {
namespace {

using Bf16 = __nv_bfloat16;

/// One query head of one sequence: where its rows begin, and how far apart they are.
struct Head {
  const Bf16 *q, *k, *v;
  std::int64_t T, D, row, out_row;
  float scale;
};

float dot(const Bf16* a, const Bf16* b, std::int64_t D) {
  float sum = 0;
  for (std::int64_t c = 0; c < D; ++c) sum += static_cast<float>(a[c]) * static_cast<float>(b[c]);
  return sum;
}

void forward(const Head& h, Bf16* out, float* lse) {
  for (std::int64_t t = 0; t < h.T; ++t) {
    std::vector<float> score;
    for (std::int64_t s = 0; s <= t; ++s) score.push_back(h.scale * dot(h.q + t * h.row, h.k + s * h.row, h.D));
    const float top = *std::max_element(score.begin(), score.end());
    float sum = 0;
    for (const float x : score) sum += std::exp(x - top);
    lse[t] = top + std::log(sum);
    for (std::int64_t c = 0; c < h.D; ++c) {
      float mean = 0;
      for (std::int64_t s = 0; s <= t; ++s)
        mean += std::exp(score[static_cast<std::size_t>(s)] - lse[t]) * static_cast<float>(h.v[s * h.row + c]);
      out[t * h.out_row + c] = mean;
    }
  }
}

/// dk and dv (T, D) are added to.
void backward(const Head& h, const Bf16* out, const Bf16* dout, const float* lse, Bf16* dq, std::vector<float>& dk,
              std::vector<float>& dv) {
  for (std::int64_t t = 0; t < h.T; ++t) {
    const Bf16 *const q = h.q + t * h.row, *const g = dout + t * h.out_row;
    const float mean = dot(g, out + t * h.out_row, h.D);
    std::vector<float> sum(static_cast<std::size_t>(h.D), 0);
    for (std::int64_t s = 0; s <= t; ++s) {
      const Bf16* const k = h.k + s * h.row;
      const float p = std::exp(h.scale * dot(q, k, h.D) - lse[t]);
      const float ds = h.scale * p * (dot(g, h.v + s * h.row, h.D) - mean);
      for (std::int64_t c = 0; c < h.D; ++c) {
        const auto at = static_cast<std::size_t>(s * h.D + c);
        sum[static_cast<std::size_t>(c)] += ds * static_cast<float>(k[c]);
        dk[at] += ds * static_cast<float>(q[c]);
        dv[at] += p * static_cast<float>(g[c]);
      }
    }
    for (std::int64_t c = 0; c < h.D; ++c) dq[t * h.row + c] = sum[static_cast<std::size_t>(c)];
  }
}

/// Calls f(head, offset of its rows in out, of its lse) for the query heads of key-value head `kv` in sequence b.
template <class F>
void for_group(const AttentionDims& d, const Bf16* qkv, const CudnnOffsets& begin, std::int64_t b, std::int64_t kv,
               F&& f) {
  const std::int64_t row = b * d.length * d.qkv_width(), group = d.n_heads / d.n_kv_heads;
  for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h)
    f(Head{.q = qkv + begin.q + row + h * d.d_head,
           .k = qkv + begin.k + row + kv * d.d_head,
           .v = qkv + begin.v + row + kv * d.d_head,
           .T = d.length,
           .D = d.d_head,
           .row = d.qkv_width(),
           .out_row = d.out_width(),
           .scale = static_cast<float>(d.scale)},
      begin.q + row + h * d.d_head, begin.out + b * d.length * d.out_width() + h * d.d_head,
      begin.lse + (b * d.n_heads + h) * d.length);
}
}  // namespace

/// Serves the two usual head sizes, so that under emulation others show the project's own kernel.
std::string cudnn_refusal(const Stream& stream, const AttentionDims& d, std::int64_t, DType dtype, bool with_starts) {
  if (std::string why = cudnn_refusal(d, dtype, with_starts, stream.deterministic); !why.empty()) return why;
  return d.d_head == 64 || d.d_head == 128 ? "" : "d_head " + std::to_string(d.d_head);
}

void cudnn_attention_forward(const Stream& stream, const AttentionForward& a, Scratch) {
  library_call(stream, {a.out.raw(), a.lse.raw(), a.qkv.raw()},
               [d = a.dims, N = a.qkv.shape()[0], qkv = a.qkv.data<Bf16>(), out = a.out.data<Bf16>(),
                lse = a.lse.data<float>()] {
                 const std::int64_t B = N / d.length;
                 for_slices({B, d.n_kv_heads}, d, B, [&](const CudnnOffsets& begin) {
                   for (std::int64_t b = 0; b < B; ++b)
                     for (std::int64_t kv = 0; kv < d.n_kv_heads; ++kv)
                       for_group(d, qkv, begin, b, kv,
                                 [&](const Head& head, std::int64_t, std::int64_t out_at, std::int64_t lse_at) {
                                   forward(head, out + out_at, lse + lse_at);
                                 });
                 });
               });
}

void cudnn_attention_backward(const Stream& stream, const AttentionBackward& a, Scratch scratch) {
  const AttentionDims d = a.dims;
  const std::int64_t N = a.qkv.shape()[0], B = N / d.length,
                     bytes = cudnn_attention_bytes(d, N, true, stream.deterministic);
  std::byte* const workspace = scratch.take<std::byte>(bytes);
  const CudnnSlice slice = CudnnSlice::of(d, B, stream.deterministic);
  for_slices(slice, d, B, [&](const CudnnOffsets& begin) {
    library_call(stream, {a.dqkv.raw(), a.dout.raw(), a.out.raw(), a.lse.raw(), a.qkv.raw(), workspace},
                 [=, qkv = a.qkv.data<Bf16>(), dqkv = a.dqkv.data<Bf16>(), dout = a.dout.data<Bf16>(),
                  out = a.out.data<Bf16>(), lse = a.lse.data<float>()] {
                   std::memset(workspace, 0xff, static_cast<std::size_t>(bytes));
                   for (std::int64_t b = 0; b < slice.sequences; ++b)
                     for (std::int64_t kv = 0; kv < slice.kv_heads; ++kv) {
                       std::vector<float> dk(static_cast<std::size_t>(d.length * d.d_head), 0), dv = dk;
                       for_group(d, qkv, begin, b, kv,
                                 [&](const Head& head, std::int64_t q_at, std::int64_t out_at, std::int64_t lse_at) {
                                   backward(head, out + out_at, dout + out_at, lse + lse_at, dqkv + q_at, dk, dv);
                                 });
                       for (std::int64_t t = 0; t < d.length; ++t)
                         for (std::int64_t c = 0; c < d.d_head; ++c) {
                           const std::int64_t row = (b * d.length + t) * d.qkv_width() + kv * d.d_head + c;
                           dqkv[begin.k + row] = dk[static_cast<std::size_t>(t * d.d_head + c)];
                           dqkv[begin.v + row] = dv[static_cast<std::size_t>(t * d.d_head + c)];
                         }
                     }
                 });
  });
}

CudnnBuilds cudnn_builds(const Stream&) { return {}; }
std::string cudnn_device_properties(const Stream&) { return {}; }
std::int64_t cudnn_plan_bytes(const std::string&, const AttentionDims& d, std::int64_t B, bool backward,
                              bool deterministic) {
  return cudnn_attention_bytes(d, B * d.length, backward, deterministic);
}

}  // namespace spikesink::kernels::cuda
