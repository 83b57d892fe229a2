#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = x + b, b added to every row. On CUDA summed in f32.
struct BiasForward {
  Tensor y;  ///< out (N, C); may be x
  Tensor x;  ///< (N, C)
  Tensor b;  ///< (C) dtype of x
};
void bias_forward(const Stream& stream, const BiasForward& args);

/// db += sum_n dy, in an order that does not depend on the number of threads, nor on CUDA on the GPU. dx is dy.
struct BiasBackward {
  Tensor db;  ///< inout (C) acc_dtype, added to
  Tensor dy;  ///< (N, C)
};
void bias_backward(const Stream& stream, const BiasBackward& args);

namespace cpu {
void bias_forward(const Stream& stream, const BiasForward& args);
void bias_backward(const Stream& stream, const BiasBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void bias_forward(const Stream& stream, const BiasForward& args);
void bias_backward(const Stream& stream, const BiasBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
