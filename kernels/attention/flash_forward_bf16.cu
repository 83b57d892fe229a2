#include "kernels/attention/flash.h"
#include "kernels/attention/flash_bf16.cuh"
#include "kernels/core/vec.cuh"

namespace spikesink::kernels::cuda {
namespace {

/// A warp's 16 kM queries and a block's kKeys keys at a time.
template <int kD>
struct Forward {
  static constexpr int kM = kD <= 128 ? 2 : 1, kKeys = 64;
  static constexpr int kQueries = kWarps * 16 * kM;
  static constexpr std::int64_t kSharedBytes = (kQueries + 2 * kKeys) * kD * 2;
};

/// The softmax so far of a warp's queries. A lane knows the top score of its rows, and its own columns' part of the
/// sum.
template <int kM>
struct OnlineSoftmax {
  float top[kM][2], sum[kM][2];

  /// Turns scores into exp(scale (score - top)), and multiplies what `out` has by how much a new top shrinks it.
  template <int kKeys, int kD>
  __device__ void step(Sums<kM, kKeys>& scores, Sums<kM, kD>& out, float scale_log2) {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float high = top[m][half];
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
          high = fmaxf(high, fmaxf(scores.at[m][n].at[2 * half], scores.at[m][n].at[2 * half + 1]));
        for (int lanes = 1; lanes < 4; lanes *= 2) high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, lanes));
        const float base = high == -INFINITY ? 0 : high * scale_log2;  // no key seen yet: all exponentials are 0
        const float shrink = fast_exp2(top[m][half] * scale_log2 - base);
        top[m][half] = high;
        float& total = sum[m][half];
        total *= shrink;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            float& s = scores.at[m][n].at[i];
            s = fast_exp2(s * scale_log2 - base);
            total += s;
          }
#pragma unroll
        for (int n = 0; n < kD / 8; ++n)
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) out.at[m][n].at[i] *= shrink;
      }
  }
};

/// A block of queries of a head meets its keys, a tile at a time: v is on its way during the products of q and k, the
/// next k during those with v.
template <int kD>
__global__ __launch_bounds__(kThreads) void forward_kernel(__nv_bfloat16* out, float* lse, const __nv_bfloat16* qkv,
                                                           const std::int32_t* starts, FlashDims d) {
  using Form = Forward<kD>;
  constexpr int kM = Form::kM, kKeys = Form::kKeys;
  const Tile<kD> q{dynamic_shared<__nv_bfloat16>()}, k{q.memory + Form::kQueries * kD}, v{k.memory + kKeys * kD};
  const int num_blocks = static_cast<int>(gridDim.x / (d.sequences * d.num_heads));
  const BlockTask task = block_task(d.sequences, d.num_heads);
  const int first = (num_blocks - 1 - task.tile) * Form::kQueries;  // the last see most keys, and come first
  const int rows = min(Form::kQueries, d.length - first), keys_end = first + rows;
  const std::int64_t n = task.sequence * d.length + first;  // the row of the first query
  if (starts) starts += n;
  const int keys_begin = smallest_start<kThreads>(starts, rows);
  const __nv_bfloat16* const keys =
      qkv + task.sequence * d.length * d.width + (d.num_heads + task.head / d.group) * d.d_head;
  const __nv_bfloat16* const values = keys + d.num_kv_heads * d.d_head;
  const auto fill = [&](const Tile<kD>& tile, const __nv_bfloat16* from, int key) {
    tile.template fill<kKeys>(from + key * d.width, d.width, keys_end - key, d);
    copy_async_commit();
  };

  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * kM, warp_first = first + warp_row;
  OnlineSoftmax<kM> softmax;
  int start[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      softmax.top[m][half] = -INFINITY;
      softmax.sum[m][half] = 0;
      const int row = warp_row + Sums<kM, kD>::row(m, half);
      start[m][half] = starts && row < rows ? starts[row] : 0;
    }
  Sums<kM, kD> sums;
  sums.clear();

  q.template fill<Form::kQueries>(qkv + n * d.width + task.head * d.d_head, d.width, rows, d);
  fill(k, keys, keys_begin);
  for (int key = keys_begin; key < keys_end; key += kKeys) {
    copy_async_wait<0>();
    __syncthreads();  // q and k are there, v has been read
    fill(v, values, key);
    const bool seen = warp_row < rows && key < warp_first + 16 * kM;  // by one of the warp's queries
    Sums<kM, kKeys> scores;
    scores.clear();
    if (seen) scores.add_scores(q, warp_row, k);
    if (starts || key + kKeys - 1 > warp_first) {
#pragma unroll
      for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int s = key + scores.column(j) + i % 2, t = warp_first + scores.row(m, i / 2);
            if (s > t || s < start[m][i / 2]) scores.at[m][j].at[i] = -INFINITY;
          }
    }
    copy_async_wait<0>();
    __syncthreads();  // v is there, k has been read
    if (key + kKeys < keys_end) fill(k, keys, key + kKeys);
    if (seen) {
      softmax.step(scores, sums, d.scale_log2);
      sums.add_product(scores, v, 0);
    }
  }

#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& sum = softmax.sum[m][half];
      for (int lanes = 1; lanes < 4; lanes *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
      const int row = warp_row + sums.row(m, half);
      if (threadIdx.x % 4 == 0 && row < rows)
        lse[(task.sequence * d.num_heads + task.head) * d.length + first + row] =
            softmax.top[m][half] * d.scale + logf(sum);
    }
  sums.store(out + (n + warp_row) * d.out_width + task.head * d.d_head, d.out_width, rows - warp_row, 0, d,
             [&](int m, int half) { return 1 / softmax.sum[m][half]; });
}
}  // namespace

void flash_forward_bf16(const Stream& stream, const AttentionForward& a) {
  auto* const qkv = a.qkv.data<__nv_bfloat16>();
  auto* const out = a.out.data<__nv_bfloat16>();
  const FlashDims d = flash_dims(a.dims, a.qkv, a.dims.d_head % 8 == 0 && aligned_16({qkv, out}));
  const std::int32_t* const starts = a.starts ? a.starts.data<std::int32_t>() : nullptr;
  with_padded(a.dims.d_head, [&]<int kD>() {
    const std::int64_t blocks = num_tiles(a.dims.length, Forward<kD>::kQueries) * d.sequences * d.num_heads;
    launch(stream, forward_kernel<kD>, blocks, kThreads, Forward<kD>::kSharedBytes, out, a.lse.data<float>(), qkv,
           starts, d);
  });
}

}  // namespace spikesink::kernels::cuda
