#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// The LM head and the cross entropy in one: loss_n = logsumexp_v(x_n . w_v) - x_n . w_target(n), in nats, a chunk of
/// rows at a time, so that the (N, V) logits never exist. The gradient of grad_scale * sum_n loss_n is taken in the
/// same sweep, while a chunk's logits are at hand (as in Hsu et al. 2024, arXiv:2410.10989). Rows with target -1 do not
/// count: their loss and dx are 0. On the CPU they cost nothing; on CUDA the host does not know them, and they cost
/// what the others do.
///
/// A chunk's logits, and then their gradients, are stored in x's dtype; sums run in acc_dtype of x (f32; f64 for f64).
struct LinearCrossEntropy {
  Tensor loss;     ///< out (N) acc_dtype
  Tensor dx;       ///< out (N, C), or no tensor: loss only
  Tensor dweight;  ///< inout (V, C) acc_dtype, added to; given if and only if dx is
  Tensor x;        ///< (N, C)
  Tensor weight;   ///< (V, C)
  Tensor targets;  ///< i32 (N), each in [-1, V): checked on the CPU; on CUDA the caller answers for it
  double grad_scale = 1;
  std::int64_t chunk_elements = 0;  ///< logits held at a time; 0: what suits the device, see cross_entropy_chunk()
};
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& args);

/// Rows whose logits are held at a time.
std::int64_t cross_entropy_chunk(Device device, std::int64_t N, std::int64_t V, std::int64_t chunk_elements);

namespace cpu {
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& args, Scratch scratch);
}
namespace cuda {
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& args, Scratch scratch);

/// Elements from one row of a chunk's logits to the next: rows start at multiples of 16 bytes whatever V is.
constexpr std::int64_t logits_stride(std::int64_t V) { return (V + 7) / 8 * 8; }
}  // namespace cuda
}  // namespace spikesink::kernels
