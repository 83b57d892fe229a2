#include "kernels/attention/flash.h"
#include "kernels/attention/flash_bf16.cuh"
#include "kernels/core/vec.cuh"

// Two kernels, each of which computes the probabilities again: in one a block owns keys and gathers dk and dv over the
// queries that see them, in the other it owns queries and gathers dq. That is 7 products instead of 5, and nothing that
// blocks would have to add up between them.
namespace spikesink::kernels::cuda {
namespace {

/// A warp owns 16 kM keys. Beyond 128 channels a block makes the gradients of only half of them.
template <int kD>
struct KeyForm {
  static constexpr int kM = kD <= 64 ? 2 : 1, kKeys = kWarps * 16 * kM, kQueries = kD == 128 ? 64 : 32;
  static constexpr int kStages = kD <= 128 ? 2 : 1;
  static constexpr int kOut = kD <= 128 ? kD : 128, kParts = kD / kOut;
  static constexpr std::int64_t kTileBytes = kQueries * kD * 2;
  static constexpr std::int64_t kSharedBytes =
      2 * kKeys * kD * 2 + kStages * (2 * kTileBytes + 3 * kQueries * std::int64_t{4});
};

/// A tile of queries in shared memory, and what is kept of each of them.
template <int kD>
struct QueryTile {
  using Form = KeyForm<kD>;
  Tile<kD> q, dout;
  float *lse, *delta;
  std::int32_t* starts;

  __device__ QueryTile(__nv_bfloat16* memory)
      : q{memory},
        dout{memory + Form::kQueries * kD},
        lse(reinterpret_cast<float*>(dout.memory + Form::kQueries * kD)),
        delta(lse + Form::kQueries),
        starts(reinterpret_cast<std::int32_t*>(delta + Form::kQueries)) {}
  static constexpr int kElements = 2 * Form::kQueries * kD + 3 * Form::kQueries * 2;
};

template <int kD>
__global__ __launch_bounds__(kThreads, 2) void key_kernel(__nv_bfloat16* dqkv, const __nv_bfloat16* qkv,
                                                          const __nv_bfloat16* dout, const float* lse,
                                                          const float* delta, const std::int32_t* starts,
                                                          const std::int32_t* smallest, FlashDims d) {
  using Form = KeyForm<kD>;
  constexpr int kM = Form::kM, kQueries = Form::kQueries, kOut = Form::kOut;
  const Tile<kD> k{dynamic_shared<__nv_bfloat16>()}, v{k.memory + Form::kKeys * kD};
  __nv_bfloat16* const stages = v.memory + Form::kKeys * kD;
  // The first keys are seen by most queries, and come first.
  const BlockTask task = block_task(d.sequences, d.num_kv_heads * Form::kParts);
  const int kv_head = task.head / Form::kParts, part = task.head % Form::kParts * kOut;
  const int first = task.tile * Form::kKeys, rows = min(Form::kKeys, d.length - first);
  const std::int64_t base = task.sequence * d.length;
  const std::int64_t key_column = (d.num_heads + kv_head) * d.d_head,
                     value_column = key_column + d.num_kv_heads * d.d_head;
  k.template fill<Form::kKeys>(qkv + (base + first) * d.width + key_column, d.width, rows, d);
  v.template fill<Form::kKeys>(qkv + (base + first) * d.width + value_column, d.width, rows, d);

  const auto load = [&](const QueryWalk& at, int stage) {
    const QueryTile<kD> to(stages + stage * QueryTile<kD>::kElements);
    const int query = at.tile * kQueries, left = d.length - query;
    to.q.template fill<kQueries>(qkv + (base + query) * d.width + at.head * d.d_head, d.width, left, d);
    to.dout.template fill<kQueries>(dout + (base + query) * d.out_width + at.head * d.d_head, d.out_width, left, d);
    const int i = static_cast<int>(threadIdx.x);
    if (i < kQueries) {
      const bool valid = i < left;  // beyond q and dout are 0, and with them all that comes of it
      const std::int64_t row = (task.sequence * d.num_heads + at.head) * d.length + query + (valid ? i : 0);
      copy_async<4>(to.lse + i, lse + row, valid);
      copy_async<4>(to.delta + i, delta + row, valid);
      if (starts) copy_async<4>(to.starts + i, starts + base + query + (valid ? i : 0), valid);
    }
    copy_async_commit();
  };

  const std::int64_t query_tiles = num_tiles(d.length, kQueries);
  QueryWalk at{.smallest = smallest ? smallest + task.sequence * query_tiles : nullptr,
               .keys_end = first + rows,
               .first_tile = first / kQueries,
               .num_tiles = static_cast<int>(query_tiles),
               .heads_end = (kv_head + 1) * d.group,
               .head = kv_head * d.group,
               .tile = first / kQueries};
  at.skip();
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * kM, warp_first = first + warp_row;
  Sums<kM, kOut> dk, dv;
  dk.clear();
  dv.clear();
  if (!at.done()) load(at, 0);
  for (int stage = 0; !at.done(); stage = Form::kStages - 1 - stage) {
    QueryWalk next = at;
    next.next();
    if constexpr (Form::kStages == 2) {
      if (!next.done())
        load(next, 1 - stage);
      else
        copy_async_commit();
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    __syncthreads();  // the tile is there
    const QueryTile<kD> tile(stages + stage * QueryTile<kD>::kElements);
    const int query = at.tile * kQueries;
    if (warp_row < rows && query + kQueries > warp_first) {  // else none of the warp's keys is seen
      Sums<kM, kQueries> p, ds;                              // rows are keys, columns queries
      p.clear();
      p.add_scores(k, warp_row, tile.q);
      const bool masked = starts || query < warp_first + 16 * kM - 1;
#pragma unroll
      for (int j = 0; j < kQueries / 8; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int column = p.column(j) + i;
          const float top = tile.lse[column] * kLog2E;
          const int start = starts ? tile.starts[column] : 0;
#pragma unroll
          for (int m = 0; m < kM; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              float& s = p.at[m][j].at[2 * half + i];
              s = fast_exp2(s * d.scale_log2 - top);
              const int key = warp_first + p.row(m, half);
              if (masked && (key > query + column || key < start)) s = 0;
            }
        }
      dv.add_product(p, tile.dout, part);
      ds.clear();
      ds.add_scores(v, warp_row, tile.dout);
#pragma unroll
      for (int j = 0; j < kQueries / 8; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float mean = tile.delta[ds.column(j) + i];
#pragma unroll
          for (int m = 0; m < kM; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              float& s = ds.at[m][j].at[2 * half + i];
              s = p.at[m][j].at[2 * half + i] * (s - mean);
            }
        }
      dk.add_product(ds, tile.q, part);
    }
    __syncthreads();  // the tile has been read
    if constexpr (Form::kStages == 1)
      if (!next.done()) load(next, 0);
    at = next;
  }
  __nv_bfloat16* const to = dqkv + (base + warp_first) * d.width;
  dk.store(to + key_column, d.width, rows - warp_row, part, d, [&](int, int) { return d.scale; });
  dv.store(to + value_column, d.width, rows - warp_row, part, d, [](int, int) { return 1.0f; });
}

/// A warp owns 16 kM queries.
template <int kD>
struct QueryForm {
  static constexpr int kM = kD <= 128 ? 2 : 1, kQueries = kWarps * 16 * kM, kKeys = 32;
  static constexpr int kStages = kD <= 128 ? 2 : 1;
  static constexpr std::int64_t kSharedBytes = (2 * kQueries + kStages * 2 * kKeys) * kD * 2;
};

template <int kD>
__global__ __launch_bounds__(kThreads, 2) void query_kernel(__nv_bfloat16* dqkv, const __nv_bfloat16* qkv,
                                                            const __nv_bfloat16* dout, const float* lse,
                                                            const float* delta, const std::int32_t* starts,
                                                            FlashDims d) {
  using Form = QueryForm<kD>;
  constexpr int kM = Form::kM, kKeys = Form::kKeys;
  const Tile<kD> q{dynamic_shared<__nv_bfloat16>()}, g{q.memory + Form::kQueries * kD};
  __nv_bfloat16* const stages = g.memory + Form::kQueries * kD;
  const int num_blocks = static_cast<int>(gridDim.x / (d.sequences * d.num_heads));
  const BlockTask task = block_task(d.sequences, d.num_heads);
  const int first = (num_blocks - 1 - task.tile) * Form::kQueries;
  const int rows = min(Form::kQueries, d.length - first), keys_end = first + rows;
  const std::int64_t n = task.sequence * d.length + first;
  if (starts) starts += n;
  const int keys_begin = smallest_start<kThreads>(starts, rows);
  const __nv_bfloat16* const keys =
      qkv + task.sequence * d.length * d.width + (d.num_heads + task.head / d.group) * d.d_head;
  q.template fill<Form::kQueries>(qkv + n * d.width + task.head * d.d_head, d.width, rows, d);
  g.template fill<Form::kQueries>(dout + n * d.out_width + task.head * d.d_head, d.out_width, rows, d);
  const auto load = [&](int key, int stage) {
    const Tile<kD> k{stages + stage * 2 * kKeys * kD}, v{k.memory + kKeys * kD};
    const __nv_bfloat16* const from = keys + key * d.width;
    k.template fill<kKeys>(from, d.width, keys_end - key, d);
    v.template fill<kKeys>(from + d.num_kv_heads * d.d_head, d.width, keys_end - key, d);
    copy_async_commit();
  };

  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * kM, warp_first = first + warp_row;
  float top[kM][2], mean[kM][2];
  int start[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + Sums<kM, kD>::row(m, half);
      const std::int64_t at = (task.sequence * d.num_heads + task.head) * d.length + first + row;
      const bool valid = row < rows;
      top[m][half] = valid ? lse[at] * kLog2E : 0;
      mean[m][half] = valid ? delta[at] : 0;
      start[m][half] = starts && valid ? starts[row] : 0;
    }
  Sums<kM, kD> dq;
  dq.clear();
  load(keys_begin, 0);
  int stage = 0;
  for (int key = keys_begin; key < keys_end; key += kKeys, stage = Form::kStages - 1 - stage) {
    const bool more = key + kKeys < keys_end;
    if constexpr (Form::kStages == 2) {
      if (more)
        load(key + kKeys, 1 - stage);
      else
        copy_async_commit();
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    __syncthreads();  // the tile is there
    const Tile<kD> k{stages + stage * 2 * kKeys * kD}, v{k.memory + kKeys * kD};
    if (warp_row < rows && key < warp_first + 16 * kM) {  // else none of the warp's queries sees it
      Sums<kM, kKeys> p, ds;
      p.clear();
      p.add_scores(q, warp_row, k);
      ds.clear();
      ds.add_scores(g, warp_row, v);
      const bool masked = starts || key + kKeys - 1 > warp_first;
#pragma unroll
      for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int half = i / 2, s = key + p.column(j) + i % 2;
            const bool hidden = masked && (s > warp_first + p.row(m, half) || s < start[m][half]);
            const float probability = hidden ? 0 : fast_exp2(p.at[m][j].at[i] * d.scale_log2 - top[m][half]);
            ds.at[m][j].at[i] = probability * (ds.at[m][j].at[i] - mean[m][half]);
          }
      dq.add_product(ds, k, 0);
    }
    __syncthreads();  // the tile has been read
    if constexpr (Form::kStages == 1)
      if (more) load(key + kKeys, 0);
  }
  dq.store(dqkv + (n + warp_row) * d.width + task.head * d.d_head, d.width, rows - warp_row, 0, d,
           [&](int, int) { return d.scale; });
}
}  // namespace

void flash_backward_bf16(const Stream& stream, const AttentionBackward& a, Scratch scratch) {
  auto *const qkv = a.qkv.data<__nv_bfloat16>(), *const dqkv = a.dqkv.data<__nv_bfloat16>(),
              *const dout = a.dout.data<__nv_bfloat16>();
  const FlashDims d = flash_dims(a.dims, a.qkv, a.dims.d_head % 8 == 0 && aligned_16({qkv, dqkv, dout}));
  const std::int32_t* const starts = a.starts ? a.starts.data<std::int32_t>() : nullptr;
  const float* const lse = a.lse.data<float>();
  with_padded(a.dims.d_head, [&]<int kD>() {
    using Keys = KeyForm<kD>;
    using Queries = QueryForm<kD>;
    const auto [delta, smallest] = backward_aids(stream, a, Keys::kQueries, scratch);
    launch(stream, key_kernel<kD>, num_tiles(a.dims.length, Keys::kKeys) * d.sequences * d.num_kv_heads * Keys::kParts,
           kThreads, Keys::kSharedBytes, dqkv, qkv, dout, lse, delta, starts, smallest, d);
    launch(stream, query_kernel<kD>, num_tiles(a.dims.length, Queries::kQueries) * d.sequences * d.num_heads, kThreads,
           Queries::kSharedBytes, dqkv, qkv, dout, lse, delta, starts, d);
  });
}

}  // namespace spikesink::kernels::cuda
