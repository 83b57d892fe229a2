#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// Layer normalisation over the last dimension: rstd = 1 / sqrt(mean_c (x - mean)^2 + eps), y = (x - mean) * rstd *
/// weight + bias. Sums run in acc_dtype of x (f32; f64 for f64). Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450,
/// eq. 4; eps within the root.
struct LayerNormForward {
  Tensor y;       ///< out (N, C); may be x
  Tensor mean;    ///< out (N) acc_dtype, kept for the way back
  Tensor rstd;    ///< out (N) acc_dtype, kept for the way back
  Tensor x;       ///< (N, C)
  Tensor weight;  ///< (C)
  Tensor bias;    ///< (C)
  double eps;     ///< > 0, in units of x^2
};
void layer_norm_forward(const Stream& stream, const LayerNormForward& args);

/// With z = (x - mean) rstd and g = weight dy: dx = rstd (g - mean_c(g) - z mean_c(g z)), added to dx where
/// `accumulate`; dweight += sum_n dy z; dbias += sum_n dy. Rows are summed in an order that does not depend on the
/// number of threads, nor on CUDA on the GPU.
struct LayerNormBackward {
  Tensor dx;                ///< out (N, C); may be dy. With `accumulate` inout, and not dy
  Tensor dweight;           ///< inout (C) acc_dtype, added to
  Tensor dbias;             ///< inout (C) acc_dtype, added to
  Tensor dy;                ///< (N, C)
  Tensor x;                 ///< (N, C)
  Tensor weight;            ///< (C)
  Tensor mean;              ///< (N) acc_dtype, of the forward
  Tensor rstd;              ///< (N) acc_dtype, of the forward
  bool accumulate = false;  ///< dx holds a gradient already, that of a residual for one
};
void layer_norm_backward(const Stream& stream, const LayerNormBackward& args);

namespace cpu {
void layer_norm_forward(const Stream& stream, const LayerNormForward& args);
void layer_norm_backward(const Stream& stream, const LayerNormBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void layer_norm_forward(const Stream& stream, const LayerNormForward& args);
void layer_norm_backward(const Stream& stream, const LayerNormBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
