#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = x weight^T, no bias.
struct LinearForward {
  Tensor y;       ///< out (N, O)
  Tensor x;       ///< (N, C)
  Tensor weight;  ///< (O, C), as in PyTorch
};
void linear_forward(const Stream& stream, const LinearForward& args);

/// dx = dy weight; dweight += dy^T x. Sums run in acc_dtype of x (f32; f64 for f64).
struct LinearBackward {
  Tensor dx;       ///< out (N, C), must not overlap an input
  Tensor dweight;  ///< inout (O, C) acc_dtype, added to
  Tensor dy;       ///< (N, O)
  Tensor x;        ///< (N, C)
  Tensor weight;   ///< (O, C)
};
void linear_backward(const Stream& stream, const LinearBackward& args);

namespace cpu {
void linear_forward(const Stream& stream, const LinearForward& args, Scratch);
void linear_backward(const Stream& stream, const LinearBackward& args, Scratch);
}  // namespace cpu
namespace cuda {
void linear_forward(const Stream& stream, const LinearForward& args, Scratch scratch);
void linear_backward(const Stream& stream, const LinearBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
