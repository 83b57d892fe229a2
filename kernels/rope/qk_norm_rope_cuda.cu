#include <algorithm>
#include <bit>

#include "kernels/core/column_sums.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/norm/rms_norm_math.h"
#include "kernels/rope/copy_columns.cuh"
#include "kernels/rope/qk_norm_rope.h"
#include "kernels/rope/rope_angles.cuh"
#include "kernels/rope/rope_math.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLanePairs = 8;  // that a lane holds of a head of up to kMaxRopeHead channels, 32 lanes at most

/// Sizes of the rows. A head's pairs are dealt to `lanes` threads, a power of two, W neighbours at a time.
struct Sizes {
  std::int64_t N, length;
  int half, n_heads, n_kv_heads, rows, lanes;

  __host__ __device__ unsigned turned_heads() const { return static_cast<unsigned>(n_heads + n_kv_heads); }
  __host__ __device__ unsigned head_width() const { return 2 * static_cast<unsigned>(half); }
  __host__ __device__ unsigned turned() const { return turned_heads() * head_width(); }
  __host__ __device__ unsigned width() const {
    return (turned_heads() + static_cast<unsigned>(n_kv_heads)) * head_width();
  }
};

Sizes sizes_of(const auto& a, int W) {
  const std::int64_t steps = (a.d_head / 2 + W - 1) / W;
  const auto lanes = std::min<std::uint64_t>(32, std::bit_ceil(static_cast<std::uint64_t>(steps)));
  return {.N = a.x.numel() / matrix_dims(a.x).cols,
          .length = a.length,
          .half = static_cast<int>(a.d_head / 2),
          .n_heads = static_cast<int>(a.n_heads),
          .n_kv_heads = static_cast<int>(a.n_kv_heads),
          .rows = static_cast<int>(rope_rows(a.d_head)),
          .lanes = static_cast<int>(lanes)};
}

/// W pairs of neighbouring channels.
template <int W>
struct Pairs {
  Floats<W> low, high;
};
template <int W, class T>
__device__ Pairs<W> load_pairs(const T* low, unsigned half) {
  return {load<W>(low), load<W>(low + half)};
}
template <int W, class T>
__device__ void store_pairs(T* low, unsigned half, const Pairs<W>& pairs) {
  store(low, pairs.low);
  store(low + half, pairs.high);
}

template <int W>
__device__ float squares(const Pairs<W>& x) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < W; ++j) sum += x.low.at[j] * x.low.at[j] + x.high.at[j] * x.high.at[j];
  return sum;
}

template <int W>
__device__ Pairs<W> turned(const Pairs<W>& x, const Floats<W>& cos, const Floats<W>& sin, float direction) {
  Pairs<W> y;
#pragma unroll
  for (int j = 0; j < W; ++j) {
    const auto turn = math::turn(x.low.at[j], x.high.at[j], cos.at[j], direction * sin.at[j]);
    y.low.at[j] = turn.low;
    y.high.at[j] = turn.high;
  }
  return y;
}

/// The pairs normalised, then turned.
template <int W>
__device__ Pairs<W> normalised(Pairs<W> x, const Pairs<W>& weight, float rstd, const Floats<W>& cos,
                               const Floats<W>& sin) {
#pragma unroll
  for (int j = 0; j < W; ++j) {
    x.low.at[j] = math::rms_norm(x.low.at[j], rstd, weight.low.at[j]);
    x.high.at[j] = math::rms_norm(x.high.at[j], rstd, weight.high.at[j]);
  }
  return turned(x, cos, sin, 1);
}

template <int W>
__device__ float triple_dot(const Pairs<W>& d, const Pairs<W>& weight, const Pairs<W>& x) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < W; ++j)
    sum += d.low.at[j] * weight.low.at[j] * x.low.at[j] + d.high.at[j] * weight.high.at[j] * x.high.at[j];
  return sum;
}

/// dx of the gradient d of the normalised pairs, which also adds to dweight.
template <int W>
__device__ Pairs<W> norm_backward(Pairs<W>& dweight, Pairs<W> d, const Pairs<W>& x, const Pairs<W>& weight, float rstd,
                                  float shrink) {
  const auto one = [&](float& sum, float& d_x, float x_at, float weight_at) {
    sum += math::rms_norm_dweight(d_x, x_at, rstd);
    d_x = math::rms_norm_dx(d_x, x_at, weight_at, rstd, shrink);
  };
#pragma unroll
  for (int j = 0; j < W; ++j) {
    one(dweight.low.at[j], d.low.at[j], x.low.at[j], weight.low.at[j]);
    one(dweight.high.at[j], d.high.at[j], x.high.at[j], weight.high.at[j]);
  }
  return d;
}

/// The sum over `lanes` neighbouring lanes, a power of two, in each of them; all lanes of the warp come.
__device__ float lanes_sum(float x, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

/// One root mean square a head. A block takes sizes.rows rows, a group of lanes a head at a time; y may be x.
template <int W, class T>
__global__ void head_forward_kernel(T* y, float* rstd, const T* x, const T* q_weight, const T* k_weight,
                                    const RopeFrequencies frequencies, Sizes sizes, float eps) {
  constexpr int kSteps = kLanePairs / W;
  const auto half = static_cast<unsigned>(sizes.half), lanes = static_cast<unsigned>(sizes.lanes),
             heads = sizes.turned_heads();
  const RopeTable angles = rope_table(dynamic_shared<float>(), sizes.rows, half);
  const std::int64_t first = std::int64_t{blockIdx.x} * sizes.rows, left = sizes.N - first;
  const auto rows = static_cast<unsigned>(left < sizes.rows ? left : sizes.rows);
  fill_rope_table(angles, frequencies, first, rows, half, sizes.length);
  __syncthreads();
  x += first * sizes.width();
  y += first * sizes.width();
  rstd += first * heads;
  const unsigned lane = threadIdx.x % lanes, groups = kThreads / lanes;
  for (unsigned start = 0; start < rows * heads; start += groups) {
    const unsigned item = start + threadIdx.x / lanes, row = item / heads, head = item % heads;
    const std::size_t at = std::size_t{row} * sizes.width() + head * sizes.head_width();
    const T* const weight = head < static_cast<unsigned>(sizes.n_heads) ? q_weight : k_weight;
    const unsigned end = item < rows * heads ? half : 0;  // lanes without a head only sum
    Pairs<W> pairs[kSteps];
    float sum = 0;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const unsigned i = (static_cast<unsigned>(s) * lanes + lane) * W;
      if (i >= end) continue;
      pairs[s] = load_pairs<W>(x + at + i, half);
      sum += squares(pairs[s]);
    }
    const float r = 1 / sqrtf(lanes_sum(sum, sizes.lanes) / static_cast<float>(sizes.head_width()) + eps);
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const unsigned i = (static_cast<unsigned>(s) * lanes + lane) * W;
      if (i >= end) continue;
      store_pairs(y + at + i, half,
                  normalised(pairs[s], load_pairs<W>(weight + i, half), r, load<W>(angles.cos + row * half + i),
                             load<W>(angles.sin + row * half + i)));
    }
    if (lane == 0 && end > 0) rstd[item] = r;
  }
  copy_columns<W>(y, x, rows, sizes.turned(), sizes.width());
}

/// One root mean square for all of q and one for all of k. A row a block; y may be x.
template <int W, class T>
__global__ void full_forward_kernel(T* y, float* rstd, const T* x, const T* q_weight, const T* k_weight,
                                    const RopeFrequencies frequencies, Sizes sizes, float eps) {
  const auto half = static_cast<unsigned>(sizes.half), heads = sizes.turned_heads();
  const RopeTable angles = rope_table(dynamic_shared<float>(), 1, half);
  const std::int64_t n = blockIdx.x;
  x += n * sizes.width();
  y += n * sizes.width();
  fill_rope_table(angles, frequencies, n, 1, half, sizes.length);
  const unsigned steps_a_head = half / W, q_steps = static_cast<unsigned>(sizes.n_heads) * steps_a_head;
  const auto column = [&](unsigned step) { return step / steps_a_head * 2 * half + step % steps_a_head * W; };
  float q_sum = 0, k_sum = 0;
  for (unsigned step = threadIdx.x; step < heads * steps_a_head; step += kThreads)
    (step < q_steps ? q_sum : k_sum) += squares(load_pairs<W>(x + column(step), half));
  const auto mean = [&](float sum, int of_heads) {
    return sum / (static_cast<float>(of_heads) * static_cast<float>(sizes.head_width()));
  };
  const float q_rstd = 1 / sqrtf(mean(block_sum(q_sum), sizes.n_heads) + eps),
              k_rstd = 1 / sqrtf(mean(block_sum(k_sum), sizes.n_kv_heads) + eps);
  for (unsigned step = threadIdx.x; step < heads * steps_a_head; step += kThreads) {
    const unsigned c = column(step), i = step % steps_a_head * W;
    const bool key = step >= q_steps;
    const T* const weight = key ? k_weight + (c - q_steps * 2 * W) : q_weight + c;
    store_pairs(y + c, half,
                normalised(load_pairs<W>(x + c, half), load_pairs<W>(weight, half), key ? k_rstd : q_rstd,
                           load<W>(angles.cos + i), load<W>(angles.sin + i)));
  }
  if (threadIdx.x < 2) rstd[2 * n + threadIdx.x] = threadIdx.x == 0 ? q_rstd : k_rstd;
  copy_columns<W>(y, x, 1, sizes.turned(), sizes.width());
}

/// Adds up what each group of lanes has for a weight (D), in their order, into `out`. `memory` is (groups, D).
template <int W>
__device__ void sum_groups(float* out, float* memory, const Pairs<W>* sums, unsigned half, unsigned lanes) {
  const unsigned lane = threadIdx.x % lanes, group = threadIdx.x / lanes, D = 2 * half;
  __syncthreads();  // what was in the memory has been read
#pragma unroll
  for (int s = 0; s < kLanePairs / W; ++s) {
    const unsigned i = (static_cast<unsigned>(s) * lanes + lane) * W;
    if (i < half) store_pairs(memory + group * D + i, half, sums[s]);
  }
  __syncthreads();
  for (unsigned c = threadIdx.x; c < D; c += kThreads) {
    float sum = 0;
    for (unsigned g = 0; g < kThreads / lanes; ++g) sum += memory[g * D + c];
    out[c] = sum;
  }
}

/// A run of rows a block, whose part of the weights' gradients gathers in registers, each channel of each group of
/// lanes by itself. dx may be dy.
template <int W, class T>
__global__ void head_backward_kernel(T* dx, float* dq_partial, float* dk_partial, const T* dy, const T* x,
                                     const float* rstd, const T* q_weight, const T* k_weight,
                                     const RopeFrequencies frequencies, Sizes sizes) {
  constexpr int kSteps = kLanePairs / W;
  const auto half = static_cast<unsigned>(sizes.half), lanes = static_cast<unsigned>(sizes.lanes),
             heads = sizes.turned_heads(), width = sizes.width();
  float* const memory = dynamic_shared<float>();
  const RopeTable angles = rope_table(memory, sizes.rows, half);
  const std::int64_t begin = blockIdx.x * sizes.N / gridDim.x, end = (blockIdx.x + 1) * sizes.N / gridDim.x;
  const unsigned lane = threadIdx.x % lanes, groups = kThreads / lanes;
  Pairs<W> dq[kSteps]{}, dk[kSteps]{};
  for (std::int64_t first = begin; first < end; first += sizes.rows) {
    const auto rows = static_cast<unsigned>(end - first < sizes.rows ? end - first : sizes.rows);
    __syncthreads();  // the angles of the rows before have been read
    fill_rope_table(angles, frequencies, first, rows, half, sizes.length);
    __syncthreads();
    for (unsigned start = 0; start < rows * heads; start += groups) {
      const unsigned item = start + threadIdx.x / lanes, row = item / heads, head = item % heads;
      const std::int64_t at = (first + row) * width + head * sizes.head_width();
      const bool key = head >= static_cast<unsigned>(sizes.n_heads);
      const T* const weight = key ? k_weight : q_weight;
      const unsigned bound = item < rows * heads ? half : 0;
      Pairs<W> d[kSteps], pairs[kSteps];
      float dot = 0;
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        const unsigned i = (static_cast<unsigned>(s) * lanes + lane) * W;
        if (i >= bound) continue;
        d[s] = load_pairs<W>(dy + at + i, half);
        pairs[s] = load_pairs<W>(x + at + i, half);
        d[s] = turned(d[s], load<W>(angles.cos + row * half + i), load<W>(angles.sin + row * half + i), -1);
        dot += triple_dot(d[s], load_pairs<W>(weight + i, half), pairs[s]);
      }
      const float r = bound > 0 ? rstd[first * heads + item] : 0,
                  shrink =
                      math::rms_norm_shrink(lanes_sum(dot, sizes.lanes), r, static_cast<float>(sizes.head_width()));
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        const unsigned i = (static_cast<unsigned>(s) * lanes + lane) * W;
        if (i >= bound) continue;
        const auto w = load_pairs<W>(weight + i, half);
        store_pairs(dx + at + i, half,
                    key ? norm_backward(dk[s], d[s], pairs[s], w, r, shrink)
                        : norm_backward(dq[s], d[s], pairs[s], w, r, shrink));
      }
    }
    copy_columns<W>(dx + first * width, dy + first * width, rows, sizes.turned(), width);
  }
  sum_groups(dq_partial + blockIdx.x * sizes.head_width(), memory, dq, half, lanes);
  sum_groups(dk_partial + blockIdx.x * sizes.head_width(), memory, dk, half, lanes);
}

/// The sums of two numbers over the threads of the block, in each of them. A barrier.
__device__ float2 block_sums(float a, float b) {
  __shared__ float2 partial[kThreads / 32];
  a = warp_sum(a);
  b = warp_sum(b);
  __syncthreads();  // the sums before these have been read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = {a, b};
  __syncthreads();
  float2 sum{0, 0};
#pragma unroll
  for (int warp = 0; warp < kThreads / 32; ++warp) {
    sum.x += partial[warp].x;
    sum.y += partial[warp].y;
  }
  return sum;
}

constexpr int kHeldSteps = 2;

/// A run of rows a block, for rows of at most kHeldSteps accesses a thread: each row, and what it gives to the weights'
/// gradients, stays in registers. dx may be dy.
template <int W, class T>
__global__ void __launch_bounds__(kThreads, 2)
    held_backward_kernel(T* dx, float* dq_partial, float* dk_partial, const T* dy, const T* x, const float* rstd,
                         const T* q_weight, const T* k_weight, const RopeFrequencies frequencies, Sizes sizes) {
  const auto half = static_cast<unsigned>(sizes.half), width = sizes.width();
  const unsigned steps_a_head = half / W, q_steps = static_cast<unsigned>(sizes.n_heads) * steps_a_head,
                 steps = sizes.turned_heads() * steps_a_head, q_width = q_steps * 2 * W;
  const RopeTable angles = rope_table(dynamic_shared<float>(), sizes.rows, half);
  unsigned columns[kHeldSteps], angle[kHeldSteps];
  Pairs<W> sums[kHeldSteps]{};
#pragma unroll
  for (int s = 0; s < kHeldSteps; ++s) {
    const unsigned step = static_cast<unsigned>(s) * kThreads + threadIdx.x;
    columns[s] = step / steps_a_head * 2 * half + step % steps_a_head * W;
    angle[s] = step % steps_a_head * W;
  }
  const auto there = [&](int s) { return static_cast<unsigned>(s) * kThreads + threadIdx.x < steps; };
  const auto is_key = [&](int s) { return columns[s] >= q_width; };
  const auto weight_of = [&](int s) {
    return load_pairs<W>(is_key(s) ? k_weight + (columns[s] - q_width) : q_weight + columns[s], half);
  };
  const auto channels = [&](int of_heads) {
    return static_cast<float>(of_heads) * static_cast<float>(sizes.head_width());
  };
  const std::int64_t begin = blockIdx.x * sizes.N / gridDim.x, end = (blockIdx.x + 1) * sizes.N / gridDim.x;
  for (std::int64_t first = begin; first < end; first += sizes.rows) {
    const auto rows = static_cast<unsigned>(end - first < sizes.rows ? end - first : sizes.rows);
    __syncthreads();  // the angles of the rows before have been read
    fill_rope_table(angles, frequencies, first, rows, half, sizes.length);
    __syncthreads();
    for (unsigned row = 0; row < rows; ++row) {
      const std::int64_t n = first + row;
      Pairs<W> d[kHeldSteps], pairs[kHeldSteps];
#pragma unroll
      for (int s = 0; s < kHeldSteps; ++s)
        if (there(s)) {
          d[s] = load_pairs<W>(dy + n * width + columns[s], half);
          pairs[s] = load_pairs<W>(x + n * width + columns[s], half);
        }
      float q_dot = 0, k_dot = 0;
#pragma unroll
      for (int s = 0; s < kHeldSteps; ++s)
        if (there(s)) {
          const unsigned at = row * half + angle[s];
          d[s] = turned(d[s], load<W>(angles.cos + at), load<W>(angles.sin + at), -1);
          (is_key(s) ? k_dot : q_dot) += triple_dot(d[s], weight_of(s), pairs[s]);
        }
      const float q_rstd = rstd[2 * n], k_rstd = rstd[2 * n + 1];
      const float2 dots = block_sums(q_dot, k_dot);
      const float q_shrink = math::rms_norm_shrink(dots.x, q_rstd, channels(sizes.n_heads)),
                  k_shrink = math::rms_norm_shrink(dots.y, k_rstd, channels(sizes.n_kv_heads));
#pragma unroll
      for (int s = 0; s < kHeldSteps; ++s)
        if (there(s))
          store_pairs(dx + n * width + columns[s], half,
                      norm_backward(sums[s], d[s], pairs[s], weight_of(s), is_key(s) ? k_rstd : q_rstd,
                                    is_key(s) ? k_shrink : q_shrink));
    }
    copy_columns<W>(dx + first * width, dy + first * width, rows, sizes.turned(), width);
  }
  const unsigned k_width = sizes.turned() - q_width;
#pragma unroll
  for (int s = 0; s < kHeldSteps; ++s)
    if (there(s))
      store_pairs(is_key(s) ? dk_partial + blockIdx.x * std::int64_t{k_width} + (columns[s] - q_width)
                            : dq_partial + blockIdx.x * std::int64_t{q_width} + columns[s],
                  half, sums[s]);
}

/// The same for longer rows, which are read twice; sums gather in shared memory, each channel's by the one thread that
/// has it in every row. dx may be dy.
template <int W, class T>
__global__ void full_backward_kernel(T* dx, float* dq_partial, float* dk_partial, const T* dy, const T* x,
                                     const float* rstd, const T* q_weight, const T* k_weight,
                                     const RopeFrequencies frequencies, Sizes sizes) {
  const auto half = static_cast<unsigned>(sizes.half), heads = sizes.turned_heads(), width = sizes.width();
  const unsigned steps_a_head = half / W, q_steps = static_cast<unsigned>(sizes.n_heads) * steps_a_head,
                 steps = heads * steps_a_head, q_width = q_steps * 2 * W;
  float* const sums = dynamic_shared<float>();  // (q and k)
  const RopeTable angles = rope_table(sums + sizes.turned(), sizes.rows, half);
  const auto column = [&](unsigned step) { return step / steps_a_head * 2 * half + step % steps_a_head * W; };
  const auto weight_of = [&](unsigned step) {
    return step < q_steps ? q_weight + column(step) : k_weight + (column(step) - q_width);
  };
  for (unsigned step = threadIdx.x; step < steps; step += kThreads) store_pairs(sums + column(step), half, Pairs<W>{});
  const std::int64_t begin = blockIdx.x * sizes.N / gridDim.x, end = (blockIdx.x + 1) * sizes.N / gridDim.x;
  for (std::int64_t first = begin; first < end; first += sizes.rows) {
    const auto rows = static_cast<unsigned>(end - first < sizes.rows ? end - first : sizes.rows);
    __syncthreads();  // the angles of the rows before have been read
    fill_rope_table(angles, frequencies, first, rows, half, sizes.length);
    __syncthreads();
    for (unsigned row = 0; row < rows; ++row) {
      const std::int64_t n = first + row;
      const auto turned_back = [&](unsigned step) {
        const unsigned angle = row * half + step % steps_a_head * W;
        return turned(load_pairs<W>(dy + n * width + column(step), half), load<W>(angles.cos + angle),
                      load<W>(angles.sin + angle), -1);
      };
      float q_dot = 0, k_dot = 0;
      for (unsigned step = threadIdx.x; step < steps; step += kThreads)
        (step < q_steps ? q_dot : k_dot) += triple_dot(turned_back(step), load_pairs<W>(weight_of(step), half),
                                                       load_pairs<W>(x + n * width + column(step), half));
      const float q_rstd = rstd[2 * n], k_rstd = rstd[2 * n + 1];
      const auto channels = [&](int of_heads) {
        return static_cast<float>(of_heads) * static_cast<float>(sizes.head_width());
      };
      const float q_shrink = math::rms_norm_shrink(block_sum(q_dot), q_rstd, channels(sizes.n_heads)),
                  k_shrink = math::rms_norm_shrink(block_sum(k_dot), k_rstd, channels(sizes.n_kv_heads));
      for (unsigned step = threadIdx.x; step < steps; step += kThreads) {
        const bool key = step >= q_steps;
        auto sum = load_pairs<W>(sums + column(step), half);
        const auto d =
            norm_backward(sum, turned_back(step), load_pairs<W>(x + n * width + column(step), half),
                          load_pairs<W>(weight_of(step), half), key ? k_rstd : q_rstd, key ? k_shrink : q_shrink);
        store_pairs(sums + column(step), half, sum);
        store_pairs(dx + n * width + column(step), half, d);
      }
    }
    copy_columns<W>(dx + first * width, dy + first * width, rows, sizes.turned(), width);
  }
  const unsigned k_width = sizes.turned() - q_width;
  for (unsigned step = threadIdx.x; step < steps; step += kThreads) {
    float* const out = step < q_steps ? dq_partial + blockIdx.x * std::int64_t{q_width} + column(step)
                                      : dk_partial + blockIdx.x * std::int64_t{k_width} + (column(step) - q_width);
    store_pairs(out, half, load_pairs<W>(sums + column(step), half));
  }
}
}  // namespace

void qk_norm_rope_forward(const Stream& stream, const QkNormRopeForward& a, Scratch) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    T *const y = a.y.data<T>(), *const x = a.x.data<T>(), *const q_weight = a.q_weight.data<T>(),
             *const k_weight = a.k_weight.data<T>();
    const bool wide = a.d_head / 2 % kWidth<T> == 0 && aligned_16({y, x, q_weight, k_weight});
    with_width<T>(wide, [&]<int W>() {
      const Sizes sizes = sizes_of(a, W);
      const bool full = a.mode == QkNormMode::kFull;
      const std::int64_t rows = full ? 1 : sizes.rows;
      launch(stream, full ? full_forward_kernel<W, T> : head_forward_kernel<W, T>, (sizes.N + rows - 1) / rows,
             kThreads, rope_table_bytes(rows, a.d_head), y, a.rstd.data<float>(), x, q_weight, k_weight,
             rope_frequencies(a.d_head, a.theta, a.scaling), sizes, static_cast<float>(a.eps));
    });
  });
}

void qk_norm_rope_backward(const Stream& stream, const QkNormRopeBackward& a, Scratch scratch) {
  const std::int64_t P = num_row_blocks(matrix_dims(a.x).rows), q = a.q_weight.numel(), k = a.k_weight.numel();
  float *const dq_partial = scratch.take<float>(P * q), *const dk_partial = scratch.take<float>(P * k);
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    T *const dx = a.dx.data<T>(), *const dy = a.dy.data<T>(), *const x = a.x.data<T>(),
             *const q_weight = a.q_weight.data<T>(), *const k_weight = a.k_weight.data<T>();
    const bool wide = a.d_head / 2 % kWidth<T> == 0 && aligned_16({dx, dy, x, q_weight, k_weight});
    with_width<T>(wide, [&]<int W>() {
      const Sizes sizes = sizes_of(a, W);
      const bool full = a.mode == QkNormMode::kFull, held = sizes.turned() / (2 * W) <= kHeldSteps * kThreads;
      const std::int64_t angles = rope_table_bytes(sizes.rows, a.d_head), floats = size_of(DType::kF32),
                         group_sums = kThreads / sizes.lanes * a.d_head * floats;
      launch(stream, full ? held ? held_backward_kernel<W, T> : full_backward_kernel<W, T> : head_backward_kernel<W, T>,
             P, kThreads, full ? angles + (held ? 0 : sizes.turned() * floats) : std::max(angles, group_sums), dx,
             dq_partial, dk_partial, dy, x, a.rstd.data<float>(), q_weight, k_weight,
             rope_frequencies(a.d_head, a.theta, a.scaling), sizes);
    });
  });
  add_column_sums(stream, a.dq_weight.data<float>(), dq_partial, P, q);
  add_column_sums(stream, a.dk_weight.data<float>(), dk_partial, P, k);
}

}  // namespace spikesink::kernels::cuda
