#include <omp.h>

#include <algorithm>

#include "kernels/attention/query_block.h"
#include "kernels/core/math.h"
#include "kernels/core/parallel.h"
#include "kernels/linear/gemm.h"
#include "kernels/metrics/attention_mass.h"

namespace spikesink::kernels::cpu {

void attention_mass(const Stream& stream, const AttentionMass& a, Scratch scratch) {
  with_dtype(a.qkv.dtype(), [&]<class T>() {
    const auto& d = a.dims;
    const std::int64_t time = d.length, W = d.qkv_width(), group = d.n_heads / d.n_kv_heads;
    T* const scores = scratch.take<T>(stream.num_threads * std::min(kQueries, time) * time);
    parallel_tasks(stream, a.qkv.shape()[0] / time * d.n_heads, [&](std::int64_t task) {
      const std::int64_t b = task / d.n_heads, h = task % d.n_heads;
      const T* q = a.qkv.data<T>() + b * time * W + h * d.d_head;
      const T* k = a.qkv.data<T>() + b * time * W + (d.n_heads + h / group) * d.d_head;
      const T* lse = a.lse.data<T>() + task * time;
      T* alpha = a.alpha.data<T>() + task * time;
      std::fill_n(alpha, time, T(0));
      T* const s = scores + omp_get_thread_num() * std::min(kQueries, time) * time;
      for (std::int64_t first = 0; first < time; first += kQueries) {
        const std::int64_t rows = std::min(kQueries, time - first);
        const FirstKeys first_keys(a.starts, b * time + first, rows);
        const std::int64_t skipped = first_keys.smallest(), keys = first + rows - skipped;
        T* sums = alpha + skipped;
        gemm<T>(stream, s, keys, {q + first * W, W}, {k + skipped * W, W, true}, rows, keys, d.d_head, T(d.scale));
        for (std::int64_t r = 0; r < rows; ++r) {
          const T log_sum = lse[first + r];
          const T* row = s + r * keys;
          const std::int64_t end = first - skipped + r + 1;
#pragma omp simd
          for (std::int64_t c = first_keys.of(r); c < end; ++c) sums[c] += math::exp(row[c] - log_sum);
        }
      }
      const T share = T(1) / T(time);
      for (std::int64_t c = 0; c < time; ++c) alpha[c] *= share;
    });
  });
}

}  // namespace spikesink::kernels::cpu
