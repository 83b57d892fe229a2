#pragma once
#include <string>

#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// The largest d_head on CUDA: what a tile of the hand-written kernel holds.
inline constexpr std::int64_t kMaxCudaHead = 256;

/// Sizes that attention's kernels share. Rows of qkv are [q of H heads | k of K heads | v of K heads], D channels each;
/// query head h reads key-value head h / (H / K). Row n is position n % length of sequence n / length.
struct AttentionDims {
  std::int64_t n_heads;     ///< H
  std::int64_t n_kv_heads;  ///< K, divides H
  std::int64_t d_head;      ///< D
  std::int64_t length;      ///< T, divides N
  double scale;             ///< usually 1 / sqrt(D)

  std::int64_t qkv_width() const { return (n_heads + 2 * n_kv_heads) * d_head; }
  std::int64_t out_width() const { return n_heads * d_head; }
};

/// Causal attention, heads side by side: out_t = sum_{s <= t} exp(scale q_t.k_s - lse_t) v_s. Never holds T x T: a
/// block of queries meets its keys at a time, and only the log-sum-exp stays. Sources: Vaswani et al. 2017,
/// arXiv:1706.03762; grouped queries Ainslie et al. 2023, arXiv:2305.13245; blocks and lse Dao et al. 2022,
/// arXiv:2205.14135.
///
/// On CUDA d_head is even and at most kMaxCudaHead. Sums run in f32 there; with bf16 storage each probability, and each
/// gradient of a score, is rounded to bf16 before it meets its row of v, dout, q or k.
///
/// With `starts`, tokens see their own document only: the sum runs over starts[t] <= s <= t, where starts[t] is the
/// position (of row n: within its sequence, from 0) at which the document of t begins. Keys before the smallest start
/// of a block of queries cost nothing.
struct AttentionForward {
  Tensor out;     ///< out (N, H D)
  Tensor lse;     ///< out (N / T, H, T) acc_dtype
  Tensor qkv;     ///< (N, (H + 2 K) D)
  Tensor starts;  ///< i32 (N), 0 <= starts[n] <= n % T, which on CUDA the caller answers for; or no tensor: all 0
  AttentionDims dims;
};
void attention_forward(const Stream& stream, const AttentionForward& args);

/// Probabilities are computed again from qkv and lse.
struct AttentionBackward {
  Tensor dqkv;    ///< out (N, (H + 2 K) D), must not overlap an input
  Tensor dout;    ///< (N, H D)
  Tensor out;     ///< (N, H D), of the forward
  Tensor lse;     ///< (N / T, H, T) acc_dtype, of the forward
  Tensor qkv;     ///< (N, (H + 2 K) D)
  Tensor starts;  ///< i32 (N), of the forward; or no tensor
  AttentionDims dims;
};
void attention_backward(const Stream& stream, const AttentionBackward& args);

/// Checks the sizes against the rows of qkv, and on the CPU each of the starts; ContractError names what does not fit.
void require_attention(const Stream& stream, const AttentionDims& dims, const Tensor& qkv, const Tensor& lse,
                       const Tensor& starts);

/// What serves an attention over `sequences` of them on a stream's device, and why: a line for the log.
struct AttentionPlan {
  bool cudnn_forward, cudnn_backward;  ///< else the hand-written kernel
  std::string text;
};
AttentionPlan attention_plan(const Stream& stream, const AttentionDims& dims, std::int64_t sequences, DType dtype,
                             bool with_starts);
/// The one that serves these rows of qkv.
AttentionPlan attention_plan(const Stream& stream, const AttentionDims& dims, const Tensor& qkv, const Tensor& starts);

namespace cpu {
void attention_forward(const Stream& stream, const AttentionForward& args, Scratch scratch);
void attention_backward(const Stream& stream, const AttentionBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void attention_forward(const Stream& stream, const AttentionForward& args, Scratch scratch);
void attention_backward(const Stream& stream, const AttentionBackward& args, Scratch scratch);

/// The scratch of the hand-written backward: a float a query and head, and with starts one of each 16 queries.
inline std::int64_t flash_backward_bytes(const AttentionDims& d, std::int64_t N, bool with_starts) {
  const std::int64_t tiles = N / d.length * ((d.length + 15) / 16);
  return scratch_bytes<float>(N * d.n_heads) + (with_starts ? scratch_bytes<std::int32_t>(tiles) : 0);
}
}  // namespace cuda
}  // namespace spikesink::kernels
