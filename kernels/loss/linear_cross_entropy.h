#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// The LM head and the cross entropy in one: loss_n = logsumexp_v(x_n . w_v) - x_n . w_target(n), in nats, a chunk of
/// rows at a time, so that the (N, V) logits never exist. The gradient of grad_scale * sum_n loss_n is taken in the
/// same sweep, while a chunk's logits are at hand (as in Hsu et al. 2024, arXiv:2410.10989). Rows with target -1 do not
/// count: their loss and dx are 0 and they cost nothing.
struct LinearCrossEntropy {
  Tensor loss;     ///< out (N)
  Tensor dx;       ///< out (N, C), or no tensor: loss only
  Tensor dweight;  ///< inout (V, C), added to; given if and only if dx is
  Tensor x;        ///< (N, C)
  Tensor weight;   ///< (V, C)
  Tensor targets;  ///< i32 (N), each in [-1, V)
  double grad_scale = 1;
  std::int64_t chunk_elements = 8 << 20;  ///< logits held at a time
};
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& args);

namespace cpu {
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& args);
}
}  // namespace spikesink::kernels
