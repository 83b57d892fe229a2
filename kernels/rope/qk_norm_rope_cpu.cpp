#include <algorithm>
#include <cmath>

#include "kernels/elementwise/row_sums.h"
#include "kernels/rope/qk_norm_rope.h"
#include "kernels/rope/rope_angles.h"
#include "kernels/rope/rope_math.h"

namespace spikesink::kernels::cpu {
namespace {

/// Channels that share a root mean square: a head, or all heads of q or of k.
struct Group {
  std::int64_t index;   ///< column of rstd
  std::int64_t column;  ///< of the row, where it begins
  std::int64_t width;
  bool is_key;
};

/// Calls f(group) for the groups of a row, in order.
template <class F>
void for_groups(const auto& a, F&& f) {
  const std::int64_t H = a.n_heads, K = a.n_kv_heads, D = a.d_head;
  if (a.mode == QkNormMode::kFull) {
    f(Group{0, 0, H * D, false});
    f(Group{1, H * D, K * D, true});
  } else {
    for (std::int64_t h = 0; h < H + K; ++h) f(Group{h, h * D, D, h >= H});
  }
}
}  // namespace

void qk_norm_rope_forward(const Stream& stream, const QkNormRopeForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(a.x);
    const std::int64_t D = a.d_head, half = D / 2, v_column = (a.n_heads + a.n_kv_heads) * D, S = a.rstd.shape()[1];
    const Tensor angles = rope_angles(stream, a.length, D, a.theta, a.x.dtype());
    parallel_ranges(stream, N, row_grain(W), [&, W = W](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T *cos = angles.data<T>() + n % a.length * D, *sin = cos + half;
        const T* row = a.x.data<T>() + n * W;
        T *out = a.y.data<T>() + n * W, *rstds = a.rstd.data<T>() + n * S;
        for_groups(a, [&](const Group& group) {
          const T* weight = (group.is_key ? a.k_weight : a.q_weight).template data<T>();
          const T* x = row + group.column;
          T* y = out + group.column;
          T sum = 0;
#pragma omp simd reduction(+ : sum)
          for (std::int64_t c = 0; c < group.width; ++c) sum += x[c] * x[c];
          const T rstd = rstds[group.index] = 1 / std::sqrt(sum / T(group.width) + T(a.eps));
          for (std::int64_t head = 0; head < group.width; head += D)
#pragma omp simd
            for (std::int64_t i = head; i < head + half; ++i) {
              const auto pair = math::turn(x[i] * rstd * weight[i], x[i + half] * rstd * weight[i + half],
                                           cos[i - head], sin[i - head]);
              y[i] = pair.low;
              y[i + half] = pair.high;
            }
        });
        if (out != row) std::copy(row + v_column, row + W, out + v_column);
      }
    });
  });
}

void qk_norm_rope_backward(const Stream& stream, const QkNormRopeBackward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(a.x);
    const std::int64_t D = a.d_head, half = D / 2, v_column = (a.n_heads + a.n_kv_heads) * D, S = a.rstd.shape()[1];
    const Tensor angles = rope_angles(stream, a.length, D, a.theta, a.x.dtype());
    add_row_sums<T>(stream, N, W, {a.dq_weight, a.dk_weight}, [&, W = W](std::int64_t n, T* dweights) {
      const T *cos = angles.data<T>() + n % a.length * D, *sin = cos + half;
      const T *row = a.x.data<T>() + n * W, *dout = a.dy.data<T>() + n * W;
      T* out = a.dx.data<T>() + n * W;
      for_groups(a, [&](const Group& group) {
        const T* weight = (group.is_key ? a.k_weight : a.q_weight).template data<T>();
        T* dweight = dweights + (group.is_key ? a.q_weight.numel() : 0);
        const T *x = row + group.column, *dy = dout + group.column, rstd = a.rstd.data<T>()[n * S + group.index];
        T *dx = out + group.column, dot = 0;
        // dx holds the gradient of the normalised channels first, while the group is in the cache.
        for (std::int64_t head = 0; head < group.width; head += D)
#pragma omp simd reduction(+ : dot)
          for (std::int64_t i = head; i < head + half; ++i) {
            const auto d = math::turn(dy[i], dy[i + half], cos[i - head], -sin[i - head]);
            dot += d.low * weight[i] * x[i] + d.high * weight[i + half] * x[i + half];
            dx[i] = d.low;
            dx[i + half] = d.high;
          }
        const T shrink = dot * rstd * rstd / T(group.width);
#pragma omp simd
        for (std::int64_t c = 0; c < group.width; ++c) {
          const T d = dx[c];
          dweight[c] += d * x[c] * rstd;
          dx[c] = rstd * (weight[c] * d - x[c] * shrink);
        }
      });
      if (out != dout) std::copy(dout + v_column, dout + W, out + v_column);
    });
  });
}

}  // namespace spikesink::kernels::cpu
