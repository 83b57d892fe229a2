#pragma once
#include "kernels/attention/attention.h"
#include "kernels/core/scratch.h"

namespace spikesink::kernels {

/// alpha_k = 1/T sum_t A[t,k], the share of a head's attention that each position gets over all queries (rows t < k,
/// and those of other documents, count as 0), from q, k and the log-sum-exp: A[t,k] = exp(scale q_t.k_k - lse_t). T x T
/// is never held. Source: Sun, Canziani, LeCun, Zhu 2026, arXiv:2603.05498, App. A.
struct AttentionMass {
  Tensor alpha;   ///< out (N / T, H, T) acc_dtype
  Tensor qkv;     ///< (N, (H + 2 K) D), as attention_forward saw it
  Tensor lse;     ///< (N / T, H, T) acc_dtype
  Tensor starts;  ///< i32 (N), as attention_forward saw it; or no tensor
  AttentionDims dims;
};
void attention_mass(const Stream& stream, const AttentionMass& args);

namespace cpu {
void attention_mass(const Stream& stream, const AttentionMass& args, Scratch scratch);
}
namespace cuda {
void attention_mass(const Stream& stream, const AttentionMass& args, Scratch scratch);
}
}  // namespace spikesink::kernels
