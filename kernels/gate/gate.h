#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// Which row r of the logits gates row n: n, of N rows | 0, of one row | n % length, of P >= length rows.
enum class GateRows { kToken, kConstant, kPosition };

/// y = x * sigmoid(logit). The logits' width G says how much one of them gates: a channel (G = H D; column c), a head
/// (G = H; column c / D) or the row (G = 1). Source: Qiu et al. 2025, arXiv:2505.06708, eq. 5. On
/// CUDA computed in f32.
struct GateForward {
  Tensor y;       ///< out (N, H D); may be x
  Tensor x;       ///< (N, H D)
  Tensor logits;  ///< (R, G) dtype of x, R by `rows`
  GateRows rows;
  std::int64_t n_heads;  ///< H
  std::int64_t d_head;   ///< D
  std::int64_t length;   ///< T, divides N; read for kPosition only
};
void gate_forward(const Stream& stream, const GateForward& args);

/// With s = sigmoid(logit), computed again: dx = dy s; dlogit = s (1 - s) sum(dy x) over the channels and rows that it
/// gates. Sums run in acc_dtype of x and in an order that does not depend on the number of threads, nor on CUDA on the
/// GPU.
struct GateBackward {
  Tensor dx;       ///< out (N, H D); may be dy
  Tensor dlogits;  ///< (R, G): out, dtype of x, for kToken; inout, acc_dtype, added to, for the parameters that the
                   ///< logits of kConstant and kPosition are
  Tensor dy;       ///< (N, H D)
  Tensor x;        ///< (N, H D)
  Tensor logits;   ///< (R, G)
  GateRows rows;
  std::int64_t n_heads, d_head, length;
};
void gate_backward(const Stream& stream, const GateBackward& args);

namespace cpu {
void gate_forward(const Stream& stream, const GateForward& args, Scratch scratch);
void gate_backward(const Stream& stream, const GateBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void gate_forward(const Stream& stream, const GateForward& args, Scratch scratch);  // takes none
void gate_backward(const Stream& stream, const GateBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
