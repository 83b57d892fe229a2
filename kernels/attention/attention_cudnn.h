#pragma once
#include <algorithm>
#include <string>

#include "kernels/attention/attention.h"
#include "kernels/core/scratch.h"

/// Attention by cuDNN: causal, bf16, grouped queries, without document starts. The packed rows of qkv are read in
/// place. cuDNN's statistics are the log-sum-exp of the scaled scores, as ours. attention_cudnn.cu alone calls it;
/// there is a twin under emulation. Sizes and reasons that need no GPU stand here, for dry runs and builds without
/// CUDA.
namespace spikesink::kernels::cuda {

/// On Hopper cuDNN's backward is deterministic if it keeps the gradient of the probabilities, in bf16: T x T a head.
/// (From 9.25 on it can also do without, slower, but only where the environment asks for it.) So it is given a slice of
/// the sequences and heads at a time: those whose gradients fit into half a GiB, enough to fill the GPU at T = 4096.
/// One group of query heads must come along with its key-value head; at T = 16384 four of them take the 2 GiB that are
/// the most.
struct CudnnSlice {
  std::int64_t sequences, kv_heads;

  /// Under emulation small, so that small tests have several slices.
  static constexpr std::int64_t kBytes = std::int64_t{kCudaEmulated ? 64 << 10 : 512 << 20};
  static constexpr std::int64_t kMostBytes = std::int64_t{2} << 30;

  /// Of one key-value head with its query heads, in one sequence.
  static std::int64_t group_bytes(const AttentionDims& d) {
    const auto up = [&](std::int64_t unit) { return (d.length + unit - 1) / unit * unit; };
    return d.n_heads / d.n_kv_heads * up(64) * up(128) * 2;
  }
  /// Slices of one size that cover B sequences: all heads of some sequences, or some heads of one. Without determinism
  /// one slice is all.
  static CudnnSlice of(const AttentionDims& d, std::int64_t B, bool deterministic) {
    if (!deterministic) return {B, d.n_kv_heads};
    const auto largest_divisor = [](std::int64_t n, std::int64_t most) {
      std::int64_t divisor = std::clamp<std::int64_t>(most, 1, std::max<std::int64_t>(n, 1));
      while (n % divisor != 0) --divisor;
      return divisor;
    };
    const std::int64_t groups = kBytes / std::max<std::int64_t>(group_bytes(d), 1);
    if (groups >= d.n_kv_heads) return {largest_divisor(B, groups / d.n_kv_heads), d.n_kv_heads};
    return {1, largest_divisor(d.n_kv_heads, groups)};
  }
};

/// Where a slice begins, in elements: of q, k and v in qkv and dqkv; in out and dout; in lse.
struct CudnnOffsets {
  std::int64_t q, k, v, out, lse;
};
/// Calls f(offsets) for each of the slices that cover B sequences.
template <class F>
void for_slices(const CudnnSlice& slice, const AttentionDims& d, std::int64_t B, F&& f) {
  for (std::int64_t b = 0; b < B; b += slice.sequences)
    for (std::int64_t kv = 0; kv < d.n_kv_heads; kv += slice.kv_heads) {
      const std::int64_t row = b * d.length * d.qkv_width(), h = kv * (d.n_heads / d.n_kv_heads);
      f(CudnnOffsets{.q = row + h * d.d_head,
                     .k = row + (d.n_heads + kv) * d.d_head,
                     .v = row + (d.n_heads + d.n_kv_heads + kv) * d.d_head,
                     .out = b * d.length * d.out_width() + h * d.d_head,
                     .lse = (b * d.n_heads + h) * d.length});
    }
}

/// Scratch of the forward or the backward over N rows: what cuDNN may take at most.
inline std::int64_t cudnn_attention_bytes(const AttentionDims& d, std::int64_t N, bool backward, bool deterministic) {
  constexpr std::int64_t kSmall = 1 << 20;  // counters, descriptors
  if (!backward) return scratch_bytes<std::byte>(kSmall);
  const CudnnSlice slice = CudnnSlice::of(d, N / d.length, deterministic);
  const std::int64_t groups = slice.sequences * slice.kv_heads, group_heads = d.n_heads / d.n_kv_heads;
  const std::int64_t rows = groups * group_heads * d.length;  // of query heads
  // dK and dV of each query head before those of a group are added up; a float a row for the sum of dout * out.
  const std::int64_t per_head = group_heads > 1 ? 2 * rows * d.d_head * 2 : 0;
  // dQ gathers in f32 where it is not made of the kept gradients.
  const std::int64_t sums = deterministic ? groups * CudnnSlice::group_bytes(d) : rows * d.d_head * 4;
  return scratch_bytes<std::byte>(sums + per_head + rows * 4 + kSmall);
}

/// Why sizes and dtype are not for cuDNN, in a few words, or empty.
inline std::string cudnn_refusal(const AttentionDims& d, DType dtype, bool with_starts, bool deterministic) {
  if (dtype != DType::kBF16) return std::string(name_of(dtype));
  if (with_starts) return "document mask";
  if (d.d_head < 8 || d.d_head > 256 || d.d_head % 8 != 0) return "d_head " + std::to_string(d.d_head);
  if (d.length < 64) return "context " + std::to_string(d.length);
  if (deterministic && CudnnSlice::group_bytes(d) > CudnnSlice::kMostBytes)
    return "context " + std::to_string(d.length) + ": its deterministic backward would take " +
           std::to_string(CudnnSlice::group_bytes(d) >> 30) + " GiB";
  return {};
}

/// Is it faster there than the hand-written kernel, where both serve? As measured on an H100 at T = 4096
/// (benchmarks/results/gpu_h100_sxm_attention.jsonl): narrow heads are bound by the exponentials, not by tensor cores,
/// and the two passes over the kept gradients of a deterministic backward cost more than computing them twice.
inline bool cudnn_is_faster(const AttentionDims& d, bool backward, bool deterministic) {
  return d.d_head > (backward && deterministic ? 32 : 16) || (backward && !deterministic);
}

/// cudnn_refusal() of sizes, and what the library and the GPU of the stream say: is there a cuDNN, is it new enough,
/// does it have plans for B sequences that stay within cudnn_attention_bytes()? Builds them when it is asked for the
/// first time; plans and failures are kept.
std::string cudnn_refusal(const Stream& stream, const AttentionDims& dims, std::int64_t B, DType dtype,
                          bool with_starts);

void cudnn_attention_forward(const Stream& stream, const AttentionForward& args, Scratch scratch);
void cudnn_attention_backward(const Stream& stream, const AttentionBackward& args, Scratch scratch);

/// Plans that were built on this stream, those that failed too, and the time that it took: for the log.
struct CudnnBuilds {
  int count = 0;
  double seconds = 0;
};
CudnnBuilds cudnn_builds(const Stream& stream);

/// The properties of the stream's GPU in cuDNN's own form, from which it builds plans where there is no GPU. Empty
/// without cuDNN.
std::string cudnn_device_properties(const Stream& stream);

/// Builds the plans of B sequences for the GPU whose properties are given, of compute capability 9.0, which need not be
/// here, and returns the workspace of the forward or of a slice of the backward. Throws CudaError where cuDNN has none.
std::int64_t cudnn_plan_bytes(const std::string& device_properties, const AttentionDims& dims, std::int64_t B,
                              bool backward, bool deterministic = true);

}  // namespace spikesink::kernels::cuda
