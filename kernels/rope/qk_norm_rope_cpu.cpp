#include <algorithm>
#include <cmath>

#include "kernels/core/prefetch.h"
#include "kernels/core/row_sums.h"
#include "kernels/norm/rms_norm_math.h"
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

/// y of a group of `width` channels; returns rstd. `angles` are those of its position, as rope_angles gives them.
template <class T>
T forward_group(T* y, const T* x, const T* weight, const T* angles, std::int64_t width, std::int64_t D, T eps) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < width; ++c) sum += x[c] * x[c];
  const T rstd = 1 / std::sqrt(sum / T(width) + eps);
  const std::int64_t half = D / 2;
  const T *cos = angles, *sin = angles + half;
  for (std::int64_t head = 0; head < width; head += D, x += D, y += D, weight += D)
#pragma omp simd
    for (std::int64_t i = 0; i < half; ++i) {
      const auto pair = math::turn(math::rms_norm(x[i], rstd, weight[i]),
                                   math::rms_norm(x[i + half], rstd, weight[i + half]), cos[i], sin[i]);
      y[i] = pair.low;
      y[i + half] = pair.high;
    }
  return rstd;
}

/// dx of a group; what it gives to its weights is added.
template <class T>
void backward_group(T* dx, T* dweight, const T* dy, const T* x, const T* weight, const T* angles, T rstd,
                    std::int64_t width, std::int64_t D) {
  const std::int64_t half = D / 2;
  const T *cos = angles, *sin = angles + half;
  T dot = 0;
  // dx holds the gradient of the normalised channels first, while the group is in the cache.
  for (std::int64_t head = 0; head < width; head += D) {
    const T *dy_head = dy + head, *x_head = x + head, *weight_head = weight + head;
    T* dx_head = dx + head;
#pragma omp simd reduction(+ : dot)
    for (std::int64_t i = 0; i < half; ++i) {
      const auto d = math::turn(dy_head[i], dy_head[i + half], cos[i], -sin[i]);
      dot += d.low * weight_head[i] * x_head[i] + d.high * weight_head[i + half] * x_head[i + half];
      dx_head[i] = d.low;
      dx_head[i + half] = d.high;
    }
  }
  const T shrink = math::rms_norm_shrink(dot, rstd, T(width));
#pragma omp simd
  for (std::int64_t c = 0; c < width; ++c) {
    const T d = dx[c];
    dweight[c] += math::rms_norm_dweight(d, x[c], rstd);
    dx[c] = math::rms_norm_dx(d, x[c], weight[c], rstd, shrink);
  }
}
}  // namespace

void qk_norm_rope_forward(const Stream& stream, const QkNormRopeForward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(a.x);
    const std::int64_t D = a.d_head, v_column = (a.n_heads + a.n_kv_heads) * D, S = a.rstd.shape()[1];
    const T *q_weight = a.q_weight.data<T>(), *k_weight = a.k_weight.data<T>();
    const T* const table = rope_angles<T>(stream, a.length, D, a.theta, a.scaling, scratch);
    parallel_ranges(stream, N, row_grain(W), [&, W = W](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T *x = a.x.data<T>() + n * W, *angles = table + n % a.length * D;
        T *y = a.y.data<T>() + n * W, *rstd = a.rstd.data<T>() + n * S;
        if (n + 1 < end) prefetch(x + W, W);
        for_groups(a, [&](const Group& group) {
          rstd[group.index] = forward_group(y + group.column, x + group.column, group.is_key ? k_weight : q_weight,
                                            angles, group.width, D, T(a.eps));
        });
        if (y != x) std::copy(x + v_column, x + W, y + v_column);
      }
    });
  });
}

void qk_norm_rope_backward(const Stream& stream, const QkNormRopeBackward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(a.x);
    const std::int64_t D = a.d_head, v_column = (a.n_heads + a.n_kv_heads) * D, S = a.rstd.shape()[1];
    const T *q_weight = a.q_weight.data<T>(), *k_weight = a.k_weight.data<T>();
    const T* const table = rope_angles<T>(stream, a.length, D, a.theta, a.scaling, scratch);
    add_row_sums<T>(stream, N, W, {a.dq_weight, a.dk_weight}, scratch, [&, N = N, W = W](std::int64_t n, T* dq_weight) {
      T* dk_weight = dq_weight + a.q_weight.numel();
      const T *x = a.x.data<T>() + n * W, *dy = a.dy.data<T>() + n * W, *rstd = a.rstd.data<T>() + n * S,
              *angles = table + n % a.length * D;
      T* dx = a.dx.data<T>() + n * W;
      if (n + 1 < N) {
        prefetch(x + W, v_column);
        prefetch(dy + W, W);
      }
      for_groups(a, [&](const Group& group) {
        backward_group(dx + group.column, group.is_key ? dk_weight : dq_weight, dy + group.column, x + group.column,
                       group.is_key ? k_weight : q_weight, angles, rstd[group.index], group.width, D);
      });
      if (dx != dy) std::copy(dy + v_column, dy + W, dx + v_column);
    });
  });
}

}  // namespace spikesink::kernels::cpu
