#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/attention/query_block.h"
#include "kernels/core/math.h"
#include "kernels/core/parallel.h"
#include "kernels/linear/gemm.h"

// A block of kQueries queries meets all keys from the first that one of them sees up to its last query: the scratch of
// a task is kQueries x T, linear in T.
namespace spikesink::kernels::cpu {
namespace {

/// Softmax of the scores in [begin, end) of a row of `width`, zeros around them; returns the log of the sum of their
/// exponentials.
template <class T>
T softmax_row(T* s, std::int64_t begin, std::int64_t end, std::int64_t width) {
  T top = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : top)
  for (std::int64_t k = begin; k < end; ++k) top = std::max(top, s[k]);
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = begin; k < end; ++k) {
    s[k] = math::exp(s[k] - top);
    sum += s[k];
  }
  const T scale = 1 / sum;
#pragma omp simd
  for (std::int64_t k = begin; k < end; ++k) s[k] *= scale;
  std::fill(s, s + begin, T(0));
  std::fill(s + end, s + width, T(0));
  return top + std::log(sum);
}

/// Copies `rows` rows of D channels between row strides.
template <class T>
void copy_rows(T* to, std::int64_t to_stride, const T* from, std::int64_t from_stride, std::int64_t rows,
               std::int64_t D) {
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_stride, D, to + r * to_stride);
}

/// A row of scores becomes probabilities, and one of dp the gradient of the scores, over keys begin to end.
template <class T>
void backward_row(T* p, T* ds, std::int64_t begin, std::int64_t end, std::int64_t width, T lse, T delta, T scale) {
#pragma omp simd
  for (std::int64_t s = begin; s < end; ++s) {
    p[s] = math::exp(p[s] - lse);
    ds[s] = p[s] * (ds[s] - delta) * scale;
  }
  for (T* row : {p, ds}) {
    std::fill(row, row + begin, T(0));
    std::fill(row + end, row + width, T(0));
  }
}

template <class T>
T dot(const T* a, const T* b, std::int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}
}  // namespace

void attention_forward(const Stream& stream, const AttentionForward& a, Scratch scratch) {
  with_dtype(a.qkv.dtype(), [&]<class T>() {
    const auto& d = a.dims;
    const std::int64_t time = d.length, D = d.d_head, W = d.qkv_width(), O = d.out_width(),
                       group = d.n_heads / d.n_kv_heads;
    const std::int64_t sequences = a.qkv.shape()[0] / time, blocks = (time + kQueries - 1) / kQueries;
    parallel_tasks(stream, sequences * d.n_heads * blocks, [&](std::int64_t task) {
      // The longest blocks first, so that no thread ends with one of them alone.
      const std::int64_t block = blocks - 1 - task / (sequences * d.n_heads);
      const std::int64_t b = task % (sequences * d.n_heads) / d.n_heads, h = task % d.n_heads;
      const std::int64_t first = block * kQueries, rows = std::min(kQueries, time - first);
      const FirstKeys first_keys(a.starts, b * time + first, rows);
      const std::int64_t skipped = first_keys.smallest(), keys = first + rows - skipped;
      const T* base = a.qkv.data<T>() + b * time * W;
      const T* q = base + first * W + h * D;
      const T* k = base + skipped * W + (d.n_heads + h / group) * D;
      const T* v = k + d.n_kv_heads * D;
      T* const s = own_part(scratch, forward_scratch(d, a.qkv.dtype())).take<T>(rows * keys);
      gemm<T>(stream, s, keys, {q, W}, {k, W, true}, rows, keys, D, T(d.scale));
      T* lse = a.lse.data<T>() + (b * d.n_heads + h) * time + first;
      for (std::int64_t r = 0; r < rows; ++r)
        lse[r] = softmax_row(s + r * keys, first_keys.of(r), first - skipped + r + 1, keys);
      gemm<T>(stream, a.out.data<T>() + (b * time + first) * O + h * D, O, {s, keys}, {v, W}, rows, D, keys);
    });
  });
}

void attention_backward(const Stream& stream, const AttentionBackward& a, Scratch scratch) {
  with_dtype(a.qkv.dtype(), [&]<class T>() {
    const auto& d = a.dims;
    const std::int64_t time = d.length, D = d.d_head, W = d.qkv_width(), O = d.out_width(),
                       group = d.n_heads / d.n_kv_heads;
    const std::int64_t sequences = a.qkv.shape()[0] / time;
    // A task owns a key-value head: its query heads add into the same dk and dv.
    parallel_tasks(stream, sequences * d.n_kv_heads, [&](std::int64_t task) {
      const std::int64_t b = task / d.n_kv_heads, kv = task % d.n_kv_heads;
      const T* base = a.qkv.data<T>() + b * time * W;
      T* dbase = a.dqkv.data<T>() + b * time * W;
      const std::int64_t k_column = (d.n_heads + kv) * D, v_column = k_column + d.n_kv_heads * D;
      // Rows of k, v and their gradients lie far apart in qkv; every block reads and adds to them, so they are
      // gathered.
      Scratch own = own_part(scratch, backward_scratch(d, a.qkv.dtype()));
      T *const k = own.take<T>(4 * time * D), *const v = k + time * D, *const dk = v + time * D,
               *const dv = dk + time * D;
      copy_rows(k, D, base + k_column, W, time, D);
      copy_rows(v, D, base + v_column, W, time, D);
      std::fill_n(dk, 2 * time * D, T(0));
      T* const scores = own.take<T>(2 * std::min(kQueries, time) * time);
      for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h)
        for (std::int64_t first = 0; first < time; first += kQueries) {
          const std::int64_t rows = std::min(kQueries, time - first);
          const FirstKeys first_keys(a.starts, b * time + first, rows);
          const std::int64_t skipped = first_keys.smallest(), keys = first + rows - skipped;
          T *p = scores, *ds = p + rows * keys;
          const T* q = base + first * W + h * D;
          const std::int64_t out_offset = (b * time + first) * O + h * D;
          const T *out = a.out.data<T>() + out_offset, *dout = a.dout.data<T>() + out_offset;
          const T* lse = a.lse.data<T>() + (b * d.n_heads + h) * time + first;
          gemm<T>(stream, p, keys, {q, W}, {k + skipped * D, D, true}, rows, keys, D, T(d.scale));
          gemm<T>(stream, ds, keys, {dout, O}, {v + skipped * D, D, true}, rows, keys, D);
          for (std::int64_t r = 0; r < rows; ++r)  // delta = sum_s p_ts dp_ts = dout_t . out_t
            backward_row(p + r * keys, ds + r * keys, first_keys.of(r), first - skipped + r + 1, keys, lse[r],
                         dot(dout + r * O, out + r * O, D), T(d.scale));
          gemm<T>(stream, dbase + first * W + h * D, W, {ds, keys}, {k + skipped * D, D}, rows, D, keys);
          gemm<T>(stream, dk + skipped * D, D, {ds, keys, true}, {q, W}, keys, D, rows, 1, 1);
          gemm<T>(stream, dv + skipped * D, D, {p, keys, true}, {dout, O}, keys, D, rows, 1, 1);
        }
      copy_rows(dbase + k_column, W, dk, D, time, D);
      copy_rows(dbase + v_column, W, dv, D, time, D);
    });
  });
}

}  // namespace spikesink::kernels::cpu
