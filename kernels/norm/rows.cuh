#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/core/column_sums.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/vec.cuh"

// Kernels over rows of C channels whose sums along a row are needed before its last element is known. A row belongs to
// a team: a warp, where rows are short, else a block. Its threads keep V accesses of W elements each in registers, so
// that the row is read once; where it is longer than that, it is taken in chunks that are read again for each pass.
namespace spikesink::kernels::cuda {

template <int W_, int V_, bool kWarp_, bool kWhole_>
struct RowForm {
  static constexpr int W = W_, V = V_;
  static constexpr bool kWarp = kWarp_, kWhole = kWhole_;  // kWhole: one chunk is the row
  static constexpr int kTeamsOfWarps = 4;                  // a block
  static constexpr int kMaxThreads = kWarp ? 32 * kTeamsOfWarps : 512;
  static constexpr std::int64_t kMaxWidth = std::int64_t{kMaxThreads} / (kWarp ? kTeamsOfWarps : 1) * V * W;

  /// Threads (of a team, teams).
  static Extent block(std::int64_t C) {
    if (kWarp) return {32, kTeamsOfWarps};
    const std::int64_t accesses = (C + W - 1) / W, threads = (accesses + V - 1) / V;
    return std::clamp<std::int64_t>((threads + 31) / 32 * 32, 32, kMaxThreads);
  }
};

/// Calls f.operator()<Form>() with the form for rows of C elements of T.
template <class T, class F>
void with_row_form(bool wide, std::int64_t C, F&& f) {
  constexpr int W = kWidth<T>;
  using Warp = RowForm<W, 1, true, true>;
  using LongWarp = RowForm<W, 4, true, true>;
  using Block = RowForm<W, 2, false, true>;
  using OddWarp = RowForm<1, 4, true, true>;
  if (wide && C <= Warp::kMaxWidth) return f.template operator()<Warp>();
  if (wide && C <= LongWarp::kMaxWidth) return f.template operator()<LongWarp>();
  if (wide && C <= Block::kMaxWidth) return f.template operator()<Block>();
  if (wide) return f.template operator()<RowForm<W, 2, false, false>>();
  if (C <= OddWarp::kMaxWidth) return f.template operator()<OddWarp>();
  f.template operator()<RowForm<1, 4, false, false>>();
}

/// What a thread has of a chunk of a row.
template <class Form, class T>
struct RowPart {
  Packed<T, Form::W> at[Form::V];
};

/// Calls f(v, c) for each access of this thread to the chunk at column `begin`: access v of the part, at column c.
template <class Form, class F>
__device__ inline void for_part(std::int64_t begin, std::int64_t C, F f) {
#pragma unroll
  for (int v = 0; v < Form::V; ++v)
    if (const std::int64_t c = begin + (v * blockDim.x + threadIdx.x) * Form::W; c < C) f(v, c);
}
template <class Form>
__device__ inline std::int64_t chunk_width() {
  return std::int64_t{blockDim.x} * Form::V * Form::W;
}

template <class Form, class T>
__device__ inline void load_part(RowPart<Form, T>& part, const T* row, std::int64_t begin, std::int64_t C) {
  for_part<Form>(begin, C, [&](int v, std::int64_t c) { part.at[v] = load_packed<Form::W>(row + c); });
}

/// The sums over the threads of a team, in each of them. A barrier for the block where the team is one.
template <class Form, int K>
__device__ inline Floats<K> team_sums(Floats<K> x) {
#pragma unroll
  for (int k = 0; k < K; ++k) x.at[k] = warp_sum(x.at[k]);
  if constexpr (!Form::kWarp) {
    __shared__ float partial[K][32];
    __syncthreads();  // the sums before these have been read
    if (threadIdx.x % 32 == 0)
#pragma unroll
      for (int k = 0; k < K; ++k) partial[k][threadIdx.x / 32] = x.at[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < K; ++k) {
      x.at[k] = 0;
      for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) x.at[k] += partial[k][warp];
    }
  }
  return x;
}
template <class Form>
__device__ inline float team_sum(float x) {
  return team_sums<Form>(Floats<1>{{x}}).at[0];
}

/// The backward of a norm. A block takes a run of rows, and while one is summed up the next one is on its way. What the
/// rows give to the parameters gathers in registers, each channel at the thread that has it in every row, and leaves
/// the block as partial sums (kSums, blocks, C), then (blocks) of a scalar parameter. dx may be dy, unless `add` says
/// that it is added to.
///
/// Norm, by value, has in f32
///   kDots, kSums            sums along a row, parameters of C channels
///   kScalar                 has it a parameter of one element too?
///   Row                     what a row has in common
///   Row row(n)              from the forward
///   Floats<kDots> dots(row, x, weight, dy)     terms of the sums
///   void finish(row&, Floats<kDots>, C)        takes the sums
///   Element element(row, x, weight, dy)        .dx, .sums[kSums], .scalar
template <class Form, class Norm, class T>
__global__ void __launch_bounds__(Form::kMaxThreads)
    norm_backward_kernel(Norm norm, T* dx, float* partial, const T* dy, const T* x, const T* weight, std::int64_t N,
                         std::int64_t C, bool add) {
  constexpr int W = Form::W, V = Form::V, K = Norm::kSums;
  using Part = RowPart<Form, T>;
  const std::int64_t begin = blockIdx.x * N / gridDim.x, end = (blockIdx.x + 1) * N / gridDim.x,
                     chunk = chunk_width<Form>();
  const auto partial_of = [&](int k) { return partial + (std::int64_t{gridDim.x} * k + blockIdx.x) * C; };
  Floats<W> sums[K][V] = {};
  float scalar = 0;
  if constexpr (!Form::kWhole)  // too many channels for registers
    for (std::int64_t at = 0; at < C; at += chunk)
      for_part<Form>(at, C, [&](int, std::int64_t c) {
#pragma unroll
        for (int k = 0; k < K; ++k) store(partial_of(k) + c, Floats<W>{});
      });

  Part xs, dys, old, next_xs, next_dys;
  const auto fetch = [&](std::int64_t n) {
    load_part(next_xs, x + n * C, 0, C);
    load_part(next_dys, dy + n * C, 0, C);
  };
  std::int64_t n = begin + threadIdx.y;
  if (Form::kWhole && n < end) fetch(n);
  for (; n < end; n += blockDim.y) {
    if constexpr (Form::kWhole) {
      xs = next_xs;
      dys = next_dys;
      if (add) load_part(old, dx + n * C, 0, C);
      if (n + blockDim.y < end) fetch(n + blockDim.y);
    }
    auto row = norm.row(n);
    if constexpr (Norm::kDots > 0) {
      Floats<Norm::kDots> dots{};
      for (std::int64_t at = 0; at < C; at += chunk) {
        if constexpr (!Form::kWhole) {
          load_part(xs, x + n * C, at, C);
          load_part(dys, dy + n * C, at, C);
        }
        for_part<Form>(at, C, [&](int v, std::int64_t c) {
          const auto w = load_packed<W>(weight + c);
#pragma unroll
          for (int i = 0; i < W; ++i) {
            const auto terms = norm.dots(row, xs.at[v].at(i), w.at(i), dys.at[v].at(i));
#pragma unroll
            for (int k = 0; k < Norm::kDots; ++k) dots.at[k] += terms.at[k];
          }
        });
      }
      norm.finish(row, team_sums<Form>(dots), static_cast<float>(C));
    }
    for (std::int64_t at = 0; at < C; at += chunk) {
      if constexpr (!Form::kWhole) {
        load_part(xs, x + n * C, at, C);
        load_part(dys, dy + n * C, at, C);
        if (add) load_part(old, dx + n * C, at, C);
      }
      for_part<Form>(at, C, [&](int v, std::int64_t c) {
        const auto w = load_packed<W>(weight + c);
        Floats<W> out, given[K];
        if constexpr (!Form::kWhole)
#pragma unroll
          for (int k = 0; k < K; ++k) given[k] = load<W>(partial_of(k) + c);
#pragma unroll
        for (int i = 0; i < W; ++i) {
          const auto e = norm.element(row, xs.at[v].at(i), w.at(i), dys.at[v].at(i));
          out.at[i] = add ? old.at[v].at(i) + e.dx : e.dx;
          if constexpr (Norm::kScalar) scalar += e.scalar;
#pragma unroll
          for (int k = 0; k < K; ++k) (Form::kWhole ? sums[k][v] : given[k]).at[i] += e.sums[k];
        }
        store(dx + n * C + c, out);
        if constexpr (!Form::kWhole)
#pragma unroll
          for (int k = 0; k < K; ++k) store(partial_of(k) + c, given[k]);
      });
    }
  }

  if constexpr (Form::kWarp) {                      // the warps of the block, one after another
    float* const shared = dynamic_shared<float>();  // (K, C)
    for (unsigned team = 0; team < blockDim.y; ++team) {
      if (threadIdx.y == team)
        for_part<Form>(0, C, [&](int v, std::int64_t c) {
#pragma unroll
          for (int k = 0; k < K; ++k) {
            Floats<W> sum = sums[k][v];
            if (team > 0) {
              const auto before = load<W>(shared + k * C + c);
#pragma unroll
              for (int i = 0; i < W; ++i) sum.at[i] += before.at[i];
            }
            if (team + 1 < blockDim.y)
              store(shared + k * C + c, sum);
            else
              store(partial_of(k) + c, sum);
          }
        });
      __syncthreads();
    }
  } else if constexpr (Form::kWhole) {
    for_part<Form>(0, C, [&](int v, std::int64_t c) {
#pragma unroll
      for (int k = 0; k < K; ++k) store(partial_of(k) + c, sums[k][v]);
    });
  }
  if constexpr (Norm::kScalar) {
    scalar = team_sum<Form>(scalar);
    if constexpr (Form::kWarp) {
      __shared__ float of_teams[Form::kTeamsOfWarps];
      if (threadIdx.x == 0) of_teams[threadIdx.y] = scalar;
      __syncthreads();
      scalar = 0;
      for (unsigned team = 0; team < blockDim.y; ++team) scalar += of_teams[team];
    }
    if (threadIdx.x == 0 && threadIdx.y == 0) *(partial + std::int64_t{gridDim.x} * K * C + blockIdx.x) = scalar;
  }
}

/// Runs it and adds its partial sums to the parameters' gradients: `sums`, Norm::kSums of (C), and `scalar`, of (1), if
/// there is one. `partial` has num_row_blocks(N) * (kSums C + 1) elements, without the 1 if there is none.
template <class Norm, class T>
void norm_backward(const Stream& stream, const Norm& norm, T* dx, std::initializer_list<float*> sums, float* scalar,
                   float* partial, const T* dy, const T* x, const T* weight, std::int64_t N, std::int64_t C, bool add) {
  const std::int64_t P = num_row_blocks(N);
  with_row_form<T>(C % kWidth<T> == 0 && aligned_16({dx, dy, x, weight}), C, [&]<class Form>() {
    const std::int64_t shared = Form::kWarp ? Norm::kSums * C * size_of(DType::kF32) : 0;
    launch(stream, norm_backward_kernel<Form, Norm, T>, P, Form::block(C), shared, norm, dx, partial, dy, x, weight, N,
           C, add);
  });
  for (float* sum : sums) {
    add_column_sums(stream, sum, partial, P, C);
    partial += P * C;
  }
  if (scalar) add_column_sums(stream, scalar, partial, P, 1);
}

}  // namespace spikesink::kernels::cuda
