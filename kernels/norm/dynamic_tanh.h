#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// DynamicTanh: y = weight * tanh(alpha x) [+ bias], which stands where a normalisation would and needs no statistics.
/// Source: Zhu et al. 2025, arXiv:2503.10622, eq. 3. On CUDA computed in f32.
struct DynamicTanhForward {
  Tensor y;       ///< out (N, C); may be x
  Tensor x;       ///< (N, C)
  Tensor weight;  ///< (C)
  Tensor bias;    ///< (C), or no tensor
  Tensor alpha;   ///< (1) dtype of x
};
void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& args);

/// With t = tanh(alpha x), computed again, and u = weight dy (1 - t^2): dx = alpha u, added to dx where `accumulate`;
/// dweight += sum_n dy t; dbias += sum_n dy; dalpha += sum_nc u x. Rows are summed in an order that does not depend on
/// the number of threads, nor on CUDA on the GPU.
struct DynamicTanhBackward {
  Tensor dx;                ///< out (N, C); may be dy. With `accumulate` inout, and not dy
  Tensor dweight;           ///< inout (C) acc_dtype, added to
  Tensor dbias;             ///< inout (C) acc_dtype, added to; no tensor where the forward had no bias
  Tensor dalpha;            ///< inout (1) acc_dtype, added to
  Tensor dy;                ///< (N, C)
  Tensor x;                 ///< (N, C)
  Tensor weight;            ///< (C)
  Tensor alpha;             ///< (1) dtype of x
  bool accumulate = false;  ///< dx holds a gradient already, that of a residual for one
};
void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& args);

namespace cpu {
void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& args);
void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& args);
void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
