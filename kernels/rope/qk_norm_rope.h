#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"
#include "kernels/rope/rope_scaling.h"

namespace spikesink::kernels {

/// What a root mean square of QK-norm is taken over: each head, or all heads of q (and all of k) together.
enum class QkNormMode { kHead, kFull };

/// Rows of qkv are [q of H heads | k of K heads | v of K heads], D channels each: q and k are RMS-normalised (see
/// rms_norm.h) and then turned by their position (see rope.h), in one pass; v is copied. Sources: per head Henry et al.
/// 2020, arXiv:2010.04245 (there with l2 and a scalar); full, as in OLMo 2, arXiv:2501.00656, section 3.3.
struct QkNormRopeForward {
  Tensor y;                 ///< out (N, (H + 2 K) D); may be x
  Tensor rstd;              ///< out acc_dtype, kept for the way back: (N, H + K) for kHead, (N, 2) for kFull
  Tensor x;                 ///< (N, (H + 2 K) D)
  Tensor q_weight;          ///< (D) for kHead, (H D) for kFull
  Tensor k_weight;          ///< (D) for kHead, (K D) for kFull
  std::int64_t n_heads;     ///< H
  std::int64_t n_kv_heads;  ///< K
  std::int64_t d_head;      ///< D, even; on CUDA at most 512
  std::int64_t length;      ///< T, divides N; row n has position n % T
  double theta;             ///< base of the rotary frequencies, > 0
  RopeScaling scaling = {};
  double eps;  ///< > 0, in units of x^2
  QkNormMode mode;
};
void qk_norm_rope_forward(const Stream& stream, const QkNormRopeForward& args);

/// dy is turned back and taken through the norm; dv is copied. Rows are summed in an order that does not depend on the
/// number of threads, nor on CUDA on the GPU.
struct QkNormRopeBackward {
  Tensor dx;         ///< out (N, (H + 2 K) D); may be dy
  Tensor dq_weight;  ///< inout acc_dtype, of q_weight's shape, added to
  Tensor dk_weight;  ///< inout acc_dtype, of k_weight's shape, added to
  Tensor dy;         ///< (N, (H + 2 K) D)
  Tensor x;          ///< (N, (H + 2 K) D), of the forward
  Tensor rstd;       ///< of the forward
  Tensor q_weight;
  Tensor k_weight;
  std::int64_t n_heads, n_kv_heads, d_head, length;
  double theta;
  RopeScaling scaling = {};
  QkNormMode mode;
};
void qk_norm_rope_backward(const Stream& stream, const QkNormRopeBackward& args);

namespace cpu {
void qk_norm_rope_forward(const Stream& stream, const QkNormRopeForward& args, Scratch scratch);
void qk_norm_rope_backward(const Stream& stream, const QkNormRopeBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void qk_norm_rope_forward(const Stream& stream, const QkNormRopeForward& args, Scratch scratch);
void qk_norm_rope_backward(const Stream& stream, const QkNormRopeBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
