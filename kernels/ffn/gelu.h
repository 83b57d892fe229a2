#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// kExact: x Phi(x), Phi the normal distribution's cumulative function, 0.5 (1 + erf(x / sqrt 2)).
/// kTanh: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is off by up to 5e-4.
enum class GeluForm { kExact, kTanh };

/// y = gelu(x). Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2. On CUDA computed in f32.
struct GeluForward {
  Tensor y;  ///< out, of any shape; may be x
  Tensor x;  ///< as y
  GeluForm form;
};
void gelu_forward(const Stream& stream, const GeluForward& args);

/// dx = dy gelu'(x).
struct GeluBackward {
  Tensor dx;  ///< out, of any shape; may be dy
  Tensor dy;  ///< as dx
  Tensor x;   ///< as dx
  GeluForm form;
};
void gelu_backward(const Stream& stream, const GeluBackward& args);

namespace cpu {
void gelu_forward(const Stream& stream, const GeluForward& args);
void gelu_backward(const Stream& stream, const GeluBackward& args);
}  // namespace cpu
namespace cuda {
void gelu_forward(const Stream& stream, const GeluForward& args);
void gelu_backward(const Stream& stream, const GeluBackward& args);
}  // namespace cuda
}  // namespace spikesink::kernels
