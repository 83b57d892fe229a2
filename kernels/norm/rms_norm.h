#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// RMS normalisation over the last dimension: rstd = 1 / sqrt(mean_c x^2 + eps), y = x * rstd * weight. Sums run in
/// acc_dtype of x (f32; f64 for f64). Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4; eps as in Llama, within
/// the root.
struct RmsNormForward {
  Tensor y;       ///< out (N, C); may be x
  Tensor rstd;    ///< out (N) acc_dtype, kept for the way back
  Tensor x;       ///< (N, C)
  Tensor weight;  ///< (C)
  double eps;     ///< > 0, in units of x^2
};
void rms_norm_forward(const Stream& stream, const RmsNormForward& args);

/// dx = rstd (weight dy - x rstd^2 mean_c(weight dy x)), added to dx where `accumulate`; dweight += sum_n dy x rstd.
/// Rows are summed in an order that does not depend on the number of threads, nor on CUDA on the GPU.
struct RmsNormBackward {
  Tensor dx;                ///< out (N, C); may be dy. With `accumulate` inout, and not dy
  Tensor dweight;           ///< inout (C) acc_dtype, added to
  Tensor dy;                ///< (N, C)
  Tensor x;                 ///< (N, C)
  Tensor weight;            ///< (C)
  Tensor rstd;              ///< (N) acc_dtype, of the forward
  bool accumulate = false;  ///< dx holds a gradient already, that of a residual for one
};
void rms_norm_backward(const Stream& stream, const RmsNormBackward& args);

namespace cpu {
void rms_norm_forward(const Stream& stream, const RmsNormForward& args);
void rms_norm_backward(const Stream& stream, const RmsNormBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void rms_norm_forward(const Stream& stream, const RmsNormForward& args);
void rms_norm_backward(const Stream& stream, const RmsNormBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
