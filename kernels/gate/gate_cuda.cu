#include <algorithm>
#include <bit>

#include "kernels/core/cells.cuh"
#include "kernels/core/column_sums.h"
#include "kernels/core/vec.cuh"
#include "kernels/gate/gate.h"
#include "kernels/gate/gate_math.h"

namespace spikesink::kernels::cuda {
namespace {

constexpr int kRows = 4, kThreads = 256;

/// The sigmoids of columns [c, c + W) of a row of logits: one each, or one that they share, `width` columns having one.
template <int W, bool kChannel, class T>
__device__ Floats<W> sigmoids(const T* logits, std::int64_t c, std::int64_t width) {
  Floats<W> s;
  if constexpr (kChannel) {
    const auto packed = load_packed<W>(logits + c);
#pragma unroll
    for (int i = 0; i < W; ++i) s.at[i] = math::sigmoid(packed.at(i));
  } else {
    const float one =
        math::sigmoid(static_cast<float>(logits[static_cast<std::uint32_t>(c) / static_cast<std::uint32_t>(width)]));
#pragma unroll
    for (int i = 0; i < W; ++i) s.at[i] = one;
  }
  return s;
}

template <int W, class T>
__device__ void scaled(T* y, const Packed<T, W>& x, const Floats<W>& by) {
  Floats<W> out;
#pragma unroll
  for (int i = 0; i < W; ++i) out.at[i] = x.at(i) * by.at[i];
  store(y, out);
}

/// Logits of tokens, or one row for all. y may be x.
template <int W, GateRows rows, bool kChannel, class T>
__global__ void __launch_bounds__(Cells::kThreads)
    forward_kernel(T* y, const T* x, const T* logits, std::int64_t N, std::int64_t C, std::int64_t G) {
  static_assert(rows != GateRows::kPosition);
  const Cell at = cell(C / W, kRows);
  const std::int64_t c = at.step * W, width = C / G;
  if (c >= C) return;
  Packed<T, W> v[kRows];
  Floats<W> s[kRows];
#pragma unroll
  for (int u = 0; u < kRows; ++u)
    if (const std::int64_t n = at.row + u * at.stride; n < N) v[u] = load_packed<W>(x + n * C + c);
#pragma unroll
  for (int u = 0; u < kRows; ++u)
    if (const std::int64_t n = at.row + u * at.stride; n < N) {
      if (u == 0 || rows != GateRows::kConstant)
        s[u] = sigmoids<W, kChannel>(logits + (rows == GateRows::kToken ? n * G : 0), c, width);
      else
        s[u] = s[0];
    }
#pragma unroll
  for (int u = 0; u < kRows; ++u) {
    const std::int64_t n = at.row + u * at.stride;
    if (n >= N) return;
    scaled(y + n * C + c, v[u], s[u]);
  }
}

/// Logits of positions: a thread has one in all sequences. y may be x.
template <int W, bool kChannel, class T>
__global__ void __launch_bounds__(Cells::kThreads)
    positions_kernel(T* y, const T* x, const T* logits, std::int64_t N, std::int64_t C, std::int64_t G,
                     std::int64_t length) {
  const Cell at = cell(C / W, 1);
  const std::int64_t c = at.step * W;
  if (c >= C || at.row >= length) return;
  const auto s = sigmoids<W, kChannel>(logits + at.row * G, c, C / G);
  for (std::int64_t first = at.row; first < N; first += kRows * length) {
    Packed<T, W> v[kRows];
#pragma unroll
    for (int u = 0; u < kRows; ++u)
      if (const std::int64_t n = first + u * length; n < N) v[u] = load_packed<W>(x + n * C + c);
#pragma unroll
    for (int u = 0; u < kRows; ++u)
      if (const std::int64_t n = first + u * length; n < N) scaled(y + n * C + c, v[u], s);
  }
}

/// The rows of x that are summed up for row r of dlogits (of the partial sums, where the logits are one row for all).
struct RowsOf {
  std::int64_t begin, end, stride;
};
template <GateRows rows>
__device__ RowsOf rows_of(std::int64_t r, std::int64_t R, std::int64_t N) {
  if constexpr (rows == GateRows::kToken) return {r, r + 1, 1};
  if constexpr (rows == GateRows::kConstant) return {r * N / R, (r + 1) * N / R, 1};
  return {r, N, R};
}

/// dx of some elements and what they give to their logits.
template <int W, class T>
__device__ void element(T* dx, Floats<W>& dlogits, const Packed<T, W>& dy, const Packed<T, W>& x, const Floats<W>& s) {
  Floats<W> out;
#pragma unroll
  for (int i = 0; i < W; ++i) {
    dlogits.at[i] += math::gate_dlogit(s.at[i], dy.at(i), x.at(i));
    out.at[i] = dy.at(i) * s.at[i];
  }
  store(dx, out);
}

/// Logits of channels: a thread goes through all rows of `R` rows of dlogits in W columns. Out is T for tokens, else
/// float. dx may be dy.
template <int W, GateRows rows, class Out, class T>
__global__ void __launch_bounds__(Cells::kThreads)
    channels_kernel(T* dx, Out* dlogits, const T* dy, const T* x, const T* logits, std::int64_t N, std::int64_t C,
                    std::int64_t R) {
  constexpr int kBatch = rows == GateRows::kToken ? 1 : kRows;
  const Cell at = cell(C / W, 1);
  const std::int64_t r = at.row, c = at.step * W;
  if (c >= C || r >= R) return;
  const RowsOf range = rows_of<rows>(r, R, N);
  const auto s = sigmoids<W, true>(logits + (rows == GateRows::kConstant ? 0 : r * C), c, 1);
  Floats<W> sum{};
  for (std::int64_t first = range.begin; first < range.end; first += kBatch * range.stride) {
    Packed<T, W> d[kBatch], v[kBatch];
#pragma unroll
    for (int u = 0; u < kBatch; ++u)
      if (const std::int64_t n = first + u * range.stride; n < range.end) {
        d[u] = load_packed<W>(dy + n * C + c);
        v[u] = load_packed<W>(x + n * C + c);
      }
#pragma unroll
    for (int u = 0; u < kBatch; ++u)
      if (const std::int64_t n = first + u * range.stride; n < range.end) element(dx + n * C + c, sum, d[u], v[u], s);
  }
  if constexpr (rows == GateRows::kPosition) {
    const auto before = load<W>(dlogits + r * C + c);
#pragma unroll
    for (int i = 0; i < W; ++i) sum.at[i] += before.at[i];
  }
  store(dlogits + r * C + c, sum);
}

/// Logits of G groups of `width` columns, heads or whole rows: a team of `lanes` threads, a power of two up to a warp,
/// has one of them in all of its rows. dx may be dy.
template <int W, GateRows rows, class Out, class T>
__global__ void __launch_bounds__(kThreads)
    groups_kernel(T* dx, Out* dlogits, const T* dy, const T* x, const T* logits, std::int64_t N, std::int64_t width,
                  std::int64_t G, std::int64_t R, int lanes) {
  const std::int64_t team = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / lanes, r = team / G, g = team % G;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  float sum = 0;
  if (r < R) {
    const RowsOf range = rows_of<rows>(r, R, N);
    const auto s = sigmoids<W, false>(logits + (rows == GateRows::kConstant ? 0 : r * G) + g, 0, 1);
    // All accesses of a lane, row by row.
    const std::int64_t a_row = (width + lanes * W - 1) / (lanes * W),
                       accesses = (range.end - range.begin + range.stride - 1) / range.stride * a_row;
    Floats<W> sums{};
    for (std::int64_t first = 0; first < accesses; first += kRows) {
      Packed<T, W> d[kRows], v[kRows];
      std::int64_t offset[kRows];
#pragma unroll
      for (int u = 0; u < kRows; ++u) {
        const auto j = static_cast<std::uint32_t>(first + u), per_row = static_cast<std::uint32_t>(a_row);
        const std::int64_t n = range.begin + j / per_row * range.stride, c = (j % per_row * lanes + lane) * W;
        offset[u] = j < accesses && c < width ? (n * G + g) * width + c : -1;
        if (offset[u] < 0) continue;
        d[u] = load_packed<W>(dy + offset[u]);
        v[u] = load_packed<W>(x + offset[u]);
      }
#pragma unroll
      for (int u = 0; u < kRows; ++u)
        if (offset[u] >= 0) element(dx + offset[u], sums, d[u], v[u], s);
    }
#pragma unroll
    for (int i = 0; i < W; ++i) sum += sums.at[i];
  }
  for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (r >= R || lane != 0) return;
  if constexpr (rows == GateRows::kPosition) sum += static_cast<float>(dlogits[team]);
  dlogits[team] = static_cast<Out>(sum);
}

/// Calls f.operator()<rows>().
template <class F>
void with_rows(GateRows rows, F&& f) {
  if (rows == GateRows::kToken) return f.template operator()<GateRows::kToken>();
  if (rows == GateRows::kConstant) return f.template operator()<GateRows::kConstant>();
  f.template operator()<GateRows::kPosition>();
}
}  // namespace

void gate_forward(const Stream& stream, const GateForward& a, Scratch) {
  with_cuda_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const std::int64_t G = a.logits.shape()[1];
    const bool channel = G == C;
    T *const y = a.y.data<T>(), *const x = a.x.data<T>(), *const logits = a.logits.data<T>();
    const bool wide = (channel ? C : C / G) % kWidth<T> == 0 && aligned_16({y, x, channel ? logits : nullptr});
    with_rows(a.rows, [&, N = N, C = C]<GateRows rows>() {
      with_width<T>(wide, [&]<int W>() {
        if constexpr (rows == GateRows::kPosition) {
          const Cells cells(a.length, C / W, 1);
          launch(stream, channel ? positions_kernel<W, true, T> : positions_kernel<W, false, T>, cells.grid,
                 cells.block, 0, y, x, logits, N, C, G, a.length);
        } else {
          const Cells cells(N, C / W, kRows);
          launch(stream, channel ? forward_kernel<W, rows, true, T> : forward_kernel<W, rows, false, T>, cells.grid,
                 cells.block, 0, y, x, logits, N, C, G);
        }
      });
    });
  });
}

void gate_backward(const Stream& stream, const GateBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t G = a.logits.shape()[1], P = num_row_blocks(N), width = C / G;
  const bool constant = a.rows == GateRows::kConstant, channel = G == C;
  float* const partial = constant ? scratch.take<float>(P * G) : nullptr;
  with_cuda_dtype(a.x.dtype(), [&, N = N, C = C]<class T>() {
    T *const dx = a.dx.data<T>(), *const dy = a.dy.data<T>(), *const x = a.x.data<T>(),
             *const logits = a.logits.data<T>();
    with_rows(a.rows, [&]<GateRows rows>() {
      using Out = std::conditional_t<rows == GateRows::kToken, T, float>;
      Out* dlogits;
      if constexpr (rows == GateRows::kConstant)
        dlogits = partial;
      else
        dlogits = a.dlogits.data<Out>();
      const std::int64_t R = rows == GateRows::kToken ? N : rows == GateRows::kConstant ? P : a.length;
      if (channel) {
        with_width<T>(C % kWidth<T> == 0 && aligned_16({dx, dy, x, logits, dlogits}), [&]<int W>() {
          const Cells cells(R, C / W, 1);
          launch(stream, channels_kernel<W, rows, Out, T>, cells.grid, cells.block, 0, dx, dlogits, dy, x, logits, N, C,
                 R);
        });
      } else {
        with_width<T>(width % kWidth<T> == 0 && aligned_16({dx, dy, x}), [&]<int W>() {
          const auto lanes = static_cast<std::int64_t>(
              std::bit_ceil(static_cast<std::uint64_t>(std::min<std::int64_t>(32, width / W))));
          launch(stream, groups_kernel<W, rows, Out, T>, (R * G * lanes + kThreads - 1) / kThreads, kThreads, 0, dx,
                 dlogits, dy, x, logits, N, width, G, R, static_cast<int>(lanes));
        });
      }
    });
  });
  if (constant) add_column_sums(stream, a.dlogits.data<float>(), partial, P, G);
}

}  // namespace spikesink::kernels::cuda
