#pragma once
#include "kernels/attention/flash.cuh"
#include "kernels/core/mma.cuh"

// Tiles of bf16 matrices in shared memory and what tensor cores take from them. D is padded with zeros to kD channels.
namespace spikesink::kernels::cuda {

constexpr int kWarps = 4, kThreads = 32 * kWarps;

/// Rows of kD elements in shared memory, in chunks of 16 bytes whose places are swapped within a row, so that the same
/// chunk of eight rows one after another lies in eight different groups of banks.
template <int kD>
struct Tile {
  static constexpr int kChunks = kD / 8, kRowsALine = kChunks < 8 ? 8 / kChunks : 1;
  static constexpr int kSwaps = (kChunks < 8 ? kChunks : 8) - 1;

  __nv_bfloat16* memory;

  /// The chunk with columns `col` to `col` + 7; `col` is a multiple of 8.
  __device__ __nv_bfloat16* chunk(int row, int col) const {
    return memory + row * kD + ((col / 8) ^ (row / kRowsALine & kSwaps)) * 8;
  }

  /// Rows [0, kRows) of a matrix at `from` with `stride` elements a row; those from `rows` on, and channels from
  /// `d_head` on, are zeros. Asynchronous where d.wide.
  template <int kRows>
  __device__ void fill(const __nv_bfloat16* from, std::int64_t stride, int rows, const FlashDims& d) const {
    static_assert(kRows * kChunks % kThreads == 0 || kRows * kChunks < kThreads);
#pragma unroll(kD <= 64 ? 4 : 8)
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
      const int row = i / kChunks, col = i % kChunks * 8;
      const __nv_bfloat16* source = from + row * stride + col;
      __nv_bfloat16* const to = chunk(row, col);
      if (d.wide) {
        const bool valid = row < rows && col < d.d_head;
        copy_async<16>(to, valid ? source : from, valid);
      } else {
        for (int e = 0; e < 8; ++e) to[e] = row < rows && col + e < d.d_head ? source[e] : __float2bfloat16(0.0f);
      }
    }
  }

  /// Rows row to row + 15 and columns col to col + 15 as the left side of a product.
  __device__ FragmentA left(int row, int col) const {
    const int lane = threadIdx.x % 32;
    FragmentA a;
    load_matrices<false>(a.at, chunk(row + lane % 16, col + lane / 16 * 8));
    return a;
  }
};

/// Two neighbouring 16 x 8 fragments of the right side of a product.
struct RightPair {
  FragmentB at[2];
};

/// The right side t^T: 16 rows of `t` as its columns, 16 of t's columns as its rows.
template <int kD>
__device__ RightPair right_transposed(Tile<kD> t, int row, int col) {
  const int lane = threadIdx.x % 32;
  std::uint32_t r[4];
  load_matrices<false>(r, t.chunk(row + lane % 8 + lane / 16 * 8, col + lane / 8 % 2 * 8));
  return {{{{r[0], r[1]}}, {{r[2], r[3]}}}};
}

/// The right side t: 16 of its rows and 16 of its columns.
template <int kD>
__device__ RightPair right(Tile<kD> t, int row, int col) {
  const int lane = threadIdx.x % 32;
  std::uint32_t r[4];
  load_matrices<true>(r, t.chunk(row + lane % 16, col + lane / 16 * 8));
  return {{{{r[0], r[1]}}, {{r[2], r[3]}}}};
}

/// What a warp has of a matrix of kM * 16 rows and kN columns, in f32. Lane l has elements (l / 4 + 8 half, 2 (l % 4) +
/// i) of each 16 x 8 part.
template <int kM, int kN>
struct Sums {
  FragmentC at[kM][kN / 8];

  __device__ void clear() {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int n = 0; n < kN / 8; ++n) at[m][n] = {{0, 0, 0, 0}};
  }

  /// Rows of a part as a lane sees them.
  __device__ static int row(int m, int half) { return m * 16 + static_cast<int>(threadIdx.x % 32) / 4 + half * 8; }
  __device__ static int column(int n) { return n * 8 + static_cast<int>(threadIdx.x % 4) * 2; }

  /// += rows of `a` from `row` on, times the transpose of b's first kN rows, over kD channels.
  template <int kD>
  __device__ void add_scores(Tile<kD> a, int row, Tile<kD> b) {
#pragma unroll
    for (int k = 0; k < kD; k += 16) {
      FragmentA left[kM];
#pragma unroll
      for (int m = 0; m < kM; ++m) left[m] = a.left(row + m * 16, k);
#pragma unroll
      for (int n = 0; n < kN; n += 16) {
        const RightPair right = right_transposed(b, n, k);
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int i = 0; i < 2; ++i) mma(at[m][n / 8 + i], left[m], right.at[i]);
      }
    }
  }

  /// += p, rounded to bf16, times the kInner rows of `b`, of which kN columns from `col` on.
  template <int kInner, int kD>
  __device__ void add_product(const Sums<kM, kInner>& p, Tile<kD> b, int col) {
#pragma unroll
    for (int k = 0; k < kInner; k += 16) {
      FragmentA left[kM];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        const FragmentC &low = p.at[m][k / 8], &high = p.at[m][k / 8 + 1];
        left[m] = {{bf16_pair(low.at[0], low.at[1]), bf16_pair(low.at[2], low.at[3]), bf16_pair(high.at[0], high.at[1]),
                    bf16_pair(high.at[2], high.at[3])}};
      }
#pragma unroll
      for (int n = 0; n < kN; n += 16) {
        const RightPair r = right(b, k, col + n);
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int i = 0; i < 2; ++i) mma(at[m][n / 8 + i], left[m], r.at[i]);
      }
    }
  }

  /// Writes the rows below `rows` and the channels below d.d_head times factor(m, half), to rows of `stride` elements;
  /// `col` is the channel of the first column.
  template <class F>
  __device__ void store(__nv_bfloat16* to, std::int64_t stride, int rows, int col, const FlashDims& d, F factor) const {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (row(m, half) >= rows) continue;
        const float by = factor(m, half);
        __nv_bfloat16* const line = to + row(m, half) * stride;
#pragma unroll
        for (int n = 0; n < kN / 8; ++n) {
          const int c = col + column(n);
          if (c >= d.d_head) continue;  // which is even
          const float first = at[m][n].at[2 * half] * by, second = at[m][n].at[2 * half + 1] * by;
          if (d.wide) {
            *reinterpret_cast<std::uint32_t*>(line + c) = bf16_pair(first, second);
          } else {
            line[c] = __float2bfloat16(first);
            line[c + 1] = __float2bfloat16(second);
          }
        }
      }
  }
};

/// Calls f.operator()<kD>() with the channels that d_head is padded to.
template <class F>
void with_padded(std::int64_t d_head, F&& f) {
  if (d_head <= 16) return f.template operator()<16>();
  if (d_head <= 32) return f.template operator()<32>();
  if (d_head <= 64) return f.template operator()<64>();
  if (d_head <= 128) return f.template operator()<128>();
  f.template operator()<256>();
}

}  // namespace spikesink::kernels::cuda
