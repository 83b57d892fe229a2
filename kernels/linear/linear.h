#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = x weight^T, no bias.
struct LinearForward {
  Tensor y;       ///< out (N, O)
  Tensor x;       ///< (N, C)
  Tensor weight;  ///< (O, C), as in PyTorch
};
void linear_forward(const Stream& stream, const LinearForward& args);

/// dx = dy weight; dweight += dy^T x.
struct LinearBackward {
  Tensor dx;       ///< out (N, C), must not overlap an input
  Tensor dweight;  ///< inout (O, C), added to
  Tensor dy;       ///< (N, O)
  Tensor x;        ///< (N, C)
  Tensor weight;   ///< (O, C)
};
void linear_backward(const Stream& stream, const LinearBackward& args);

namespace cpu {
void linear_forward(const Stream& stream, const LinearForward& args);
void linear_backward(const Stream& stream, const LinearBackward& args);
}  // namespace cpu
}  // namespace spikesink::kernels
