#include "kernels/attention/flash.cuh"
#include "kernels/attention/flash.h"

// The same in f32 and plain arithmetic, to compare with: eight lanes share a row of a tile, and take every eighth
// column of the scores and every eighth channel of its sums.
namespace spikesink::kernels::cuda {
namespace {

constexpr int kLanes = 8;

template <int kD>
struct Form {
  static constexpr int kRows = kD <= 128 ? 32 : 16;  // of a tile, of queries and of keys
  static constexpr int kThreads = kRows * kLanes, kScores = kRows / kLanes, kChannels = kD / kLanes;
  static constexpr int kScoreStride = kRows + 1;

  /// Of `tiles` tiles of rows and `scores` of scores.
  static std::int64_t shared_bytes(std::int64_t d_head, int tiles, int scores) {
    return (tiles * kRows * (d_head + 1) + scores * kRows * kScoreStride) * std::int64_t{4};
  }
};

/// Rows of a matrix in shared memory, an element more apart than they are long, so that they begin in different banks.
template <int kD>
struct Rows {
  float* memory;
  int d_head;

  __device__ float* row(int r) const { return memory + r * (d_head + 1); }
  __device__ float* end() const { return row(Form<kD>::kRows); }
  /// Those from `rows` on become zeros.
  __device__ void fill(const float* from, std::int64_t stride, int rows) const {
    for (int i = static_cast<int>(threadIdx.x); i < Form<kD>::kRows * d_head; i += Form<kD>::kThreads) {
      const int r = i / d_head, c = i % d_head;
      row(r)[c] = r < rows ? from[r * stride + c] : 0.0f;
    }
  }
};

__device__ inline float dot(const float* a, const float* b, int n) {
  float sum = 0;
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// A lane's channels of a row.
template <int kD>
struct Channels {
  float at[Form<kD>::kChannels];

  __device__ void scale(float by) {
#pragma unroll
    for (int i = 0; i < Form<kD>::kChannels; ++i) at[i] *= by;
  }
  /// += p (kRows) times the rows.
  __device__ void add_product(const float* p, Rows<kD> rows, int lane) {
    for (int r = 0; r < Form<kD>::kRows; ++r) {
      const float weight = p[r];
      const float* const row = rows.row(r);
#pragma unroll
      for (int i = 0; i < Form<kD>::kChannels; ++i)
        if (lane + i * kLanes < rows.d_head) at[i] += weight * row[lane + i * kLanes];
    }
  }
  __device__ void store(float* to, int lane, int d_head, float by) const {
#pragma unroll
    for (int i = 0; i < Form<kD>::kChannels; ++i)
      if (lane + i * kLanes < d_head) to[lane + i * kLanes] = at[i] * by;
  }
};

template <int kD>
__global__ void forward_kernel(float* out, float* lse, const float* qkv, const std::int32_t* starts, FlashDims d) {
  using F = Form<kD>;
  const Rows<kD> q{dynamic_shared<float>(), d.d_head}, k{q.end(), d.d_head}, v{k.end(), d.d_head};
  const int num_blocks = static_cast<int>(gridDim.x / (d.sequences * d.num_heads));
  const BlockTask task = block_task(d.sequences, d.num_heads);
  const int first = (num_blocks - 1 - task.tile) * F::kRows;
  const int rows = min(F::kRows, d.length - first), keys_end = first + rows;
  const std::int64_t n = task.sequence * d.length + first;
  if (starts) starts += n;
  const int keys_begin = smallest_start<F::kThreads>(starts, rows);
  const float* const keys = qkv + task.sequence * d.length * d.width + (d.num_heads + task.head / d.group) * d.d_head;
  q.fill(qkv + n * d.width + task.head * d.d_head, d.width, rows);

  const int row = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const int t = first + row, start = starts && row < rows ? starts[row] : 0;
  float* const p = v.end() + row * F::kScoreStride;
  float top = -INFINITY, sum = 0;
  Channels<kD> sums{};
  for (int key = keys_begin; key < keys_end; key += F::kRows) {
    __syncthreads();  // k and v have been read
    k.fill(keys + key * d.width, d.width, keys_end - key);
    v.fill(keys + key * d.width + d.num_kv_heads * d.d_head, d.width, keys_end - key);
    __syncthreads();
    float scores[F::kScores], high = top;
#pragma unroll
    for (int j = 0; j < F::kScores; ++j) {
      const int s = key + lane + j * kLanes;
      scores[j] = s > t || s < start ? -INFINITY : dot(q.row(row), k.row(lane + j * kLanes), d.d_head) * d.scale;
      high = fmaxf(high, scores[j]);
    }
    for (int lanes = 1; lanes < kLanes; lanes *= 2) high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, lanes));
    const float base = high == -INFINITY ? 0 : high;
    const float shrink = math::exp(top - base);
    top = high;
    sum *= shrink;
#pragma unroll
    for (int j = 0; j < F::kScores; ++j) {
      const float e = math::exp(scores[j] - base);
      sum += e;
      p[lane + j * kLanes] = e;
    }
    __syncwarp();
    sums.scale(shrink);
    sums.add_product(p, v, lane);
  }
  for (int lanes = 1; lanes < kLanes; lanes *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  if (row >= rows) return;
  if (lane == 0) lse[(task.sequence * d.num_heads + task.head) * d.length + t] = top + logf(sum);
  sums.store(out + (n + row) * d.out_width + task.head * d.d_head, lane, d.d_head, 1 / sum);
}

/// A block owns keys of a key-value head.
template <int kD>
__global__ void key_kernel(float* dqkv, const float* qkv, const float* dout, const float* lse, const float* delta,
                           const std::int32_t* starts, const std::int32_t* smallest, FlashDims d) {
  using F = Form<kD>;
  const Rows<kD> k{dynamic_shared<float>(), d.d_head}, v{k.end(), d.d_head}, q{v.end(), d.d_head}, g{q.end(), d.d_head};
  const BlockTask task = block_task(d.sequences, d.num_kv_heads);
  const int first = task.tile * F::kRows, rows = min(F::kRows, d.length - first);
  const std::int64_t base = task.sequence * d.length;
  const std::int64_t key_column = (d.num_heads + task.head) * d.d_head,
                     value_column = key_column + d.num_kv_heads * d.d_head;
  k.fill(qkv + (base + first) * d.width + key_column, d.width, rows);
  v.fill(qkv + (base + first) * d.width + value_column, d.width, rows);

  const int row = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const int key = first + row;
  float *const p = g.end() + row * F::kScoreStride, *const ds = p + F::kRows * F::kScoreStride;
  Channels<kD> dk{}, dv{};
  const std::int64_t tiles = num_tiles(d.length, F::kRows);
  QueryWalk at{.smallest = smallest ? smallest + task.sequence * tiles : nullptr,
               .keys_end = first + rows,
               .first_tile = task.tile,
               .num_tiles = static_cast<int>(tiles),
               .heads_end = (task.head + 1) * d.group,
               .head = task.head * d.group,
               .tile = task.tile};
  for (at.skip(); !at.done(); at.next()) {
    const int query = at.tile * F::kRows;
    __syncthreads();  // q and g have been read
    q.fill(qkv + (base + query) * d.width + at.head * d.d_head, d.width, d.length - query);
    g.fill(dout + (base + query) * d.out_width + at.head * d.d_head, d.out_width, d.length - query);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < F::kScores; ++j) {
      const int column = lane + j * kLanes, t = query + column;
      float probability = 0, gradient = 0;
      if (t < d.length && key <= t && (!starts || key >= starts[base + t])) {
        const std::int64_t kept = (task.sequence * d.num_heads + at.head) * d.length + t;
        probability = math::exp(dot(k.row(row), q.row(column), d.d_head) * d.scale - lse[kept]);
        gradient = probability * (dot(v.row(row), g.row(column), d.d_head) - delta[kept]);
      }
      p[column] = probability;
      ds[column] = gradient;
    }
    __syncwarp();
    dv.add_product(p, g, lane);
    dk.add_product(ds, q, lane);
  }
  if (row >= rows) return;
  dk.store(dqkv + (base + key) * d.width + key_column, lane, d.d_head, d.scale);
  dv.store(dqkv + (base + key) * d.width + value_column, lane, d.d_head, 1);
}

/// A block owns queries of a head.
template <int kD>
__global__ void query_kernel(float* dqkv, const float* qkv, const float* dout, const float* lse, const float* delta,
                             const std::int32_t* starts, FlashDims d) {
  using F = Form<kD>;
  const Rows<kD> q{dynamic_shared<float>(), d.d_head}, g{q.end(), d.d_head}, k{g.end(), d.d_head}, v{k.end(), d.d_head};
  const int num_blocks = static_cast<int>(gridDim.x / (d.sequences * d.num_heads));
  const BlockTask task = block_task(d.sequences, d.num_heads);
  const int first = (num_blocks - 1 - task.tile) * F::kRows;
  const int rows = min(F::kRows, d.length - first), keys_end = first + rows;
  const std::int64_t n = task.sequence * d.length + first;
  if (starts) starts += n;
  const int keys_begin = smallest_start<F::kThreads>(starts, rows);
  const float* const keys = qkv + task.sequence * d.length * d.width + (d.num_heads + task.head / d.group) * d.d_head;
  q.fill(qkv + n * d.width + task.head * d.d_head, d.width, rows);
  g.fill(dout + n * d.out_width + task.head * d.d_head, d.out_width, rows);

  const int row = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const int t = first + row, start = starts && row < rows ? starts[row] : 0;
  const std::int64_t kept = (task.sequence * d.num_heads + task.head) * d.length + (row < rows ? t : 0);
  const float top = lse[kept], mean = delta[kept];
  float* const ds = v.end() + row * F::kScoreStride;
  Channels<kD> dq{};
  for (int key = keys_begin; key < keys_end; key += F::kRows) {
    __syncthreads();  // k and v have been read
    k.fill(keys + key * d.width, d.width, keys_end - key);
    v.fill(keys + key * d.width + d.num_kv_heads * d.d_head, d.width, keys_end - key);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < F::kScores; ++j) {
      const int column = lane + j * kLanes, s = key + column;
      float gradient = 0;
      if (s <= t && s >= start)
        gradient = math::exp(dot(q.row(row), k.row(column), d.d_head) * d.scale - top) *
                   (dot(g.row(row), v.row(column), d.d_head) - mean);
      ds[column] = gradient;
    }
    __syncwarp();
    dq.add_product(ds, k, lane);
  }
  if (row < rows) dq.store(dqkv + (n + row) * d.width + task.head * d.d_head, lane, d.d_head, d.scale);
}

template <class F>
void with_most(std::int64_t d_head, F&& f) {
  if (d_head <= 64) return f.template operator()<64>();
  if (d_head <= 128) return f.template operator()<128>();
  f.template operator()<256>();
}
}  // namespace

void flash_forward_f32(const Stream& stream, const AttentionForward& a) {
  const FlashDims d = flash_dims(a.dims, a.qkv, false);
  with_most(a.dims.d_head, [&]<int kD>() {
    using F = Form<kD>;
    launch(stream, forward_kernel<kD>, num_tiles(a.dims.length, F::kRows) * d.sequences * d.num_heads, F::kThreads,
           F::shared_bytes(a.dims.d_head, 3, 1), a.out.data<float>(), a.lse.data<float>(), a.qkv.data<float>(),
           a.starts ? a.starts.data<std::int32_t>() : nullptr, d);
  });
}

void flash_backward_f32(const Stream& stream, const AttentionBackward& a, Scratch scratch) {
  const FlashDims d = flash_dims(a.dims, a.qkv, false);
  const std::int32_t* const starts = a.starts ? a.starts.data<std::int32_t>() : nullptr;
  float *const dqkv = a.dqkv.data<float>(), *const qkv = a.qkv.data<float>(), *const dout = a.dout.data<float>(),
               *const lse = a.lse.data<float>();
  with_most(a.dims.d_head, [&]<int kD>() {
    using F = Form<kD>;
    const auto [delta, smallest] = backward_aids(stream, a, F::kRows, scratch);
    const std::int64_t tiles = num_tiles(a.dims.length, F::kRows) * d.sequences;
    launch(stream, key_kernel<kD>, tiles * d.num_kv_heads, F::kThreads, F::shared_bytes(a.dims.d_head, 4, 2), dqkv, qkv,
           dout, lse, delta, starts, smallest, d);
    launch(stream, query_kernel<kD>, tiles * d.num_heads, F::kThreads, F::shared_bytes(a.dims.d_head, 4, 1), dqkv, qkv,
           dout, lse, delta, starts, d);
  });
}

}  // namespace spikesink::kernels::cuda
