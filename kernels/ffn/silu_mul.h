#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = silu(gate) * up, the middle of SwiGLU; silu(x) = x / (1 + e^-x). Rows of gate_up are [F of gate | F of up], as
/// one product of the stacked weights gives them. Source: Shazeer 2020, arXiv:2002.05202. On CUDA computed
/// in f32.
struct SiluMulForward {
  Tensor y;        ///< out (N, F), must not overlap gate_up
  Tensor gate_up;  ///< (N, 2 F)
};
void silu_mul_forward(const Stream& stream, const SiluMulForward& args);

/// dgate = dy up silu'(gate); dup = dy silu(gate).
struct SiluMulBackward {
  Tensor dgate_up;  ///< out (N, 2 F), must not overlap an input
  Tensor dy;        ///< (N, F)
  Tensor gate_up;   ///< (N, 2 F)
};
void silu_mul_backward(const Stream& stream, const SiluMulBackward& args);

namespace cpu {
void silu_mul_forward(const Stream& stream, const SiluMulForward& args);
void silu_mul_backward(const Stream& stream, const SiluMulBackward& args);
}  // namespace cpu
namespace cuda {
void silu_mul_forward(const Stream& stream, const SiluMulForward& args);
void silu_mul_backward(const Stream& stream, const SiluMulBackward& args);
}  // namespace cuda
}  // namespace spikesink::kernels
