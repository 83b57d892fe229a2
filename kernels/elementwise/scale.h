#pragma once
#include <algorithm>

#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = s * x, with a learned scalar s. On CUDA computed in f32.
struct ScaleForward {
  Tensor y;  ///< out, of any shape; may be x
  Tensor x;  ///< as y
  Tensor s;  ///< (1) dtype of x
};
void scale_forward(const Stream& stream, const ScaleForward& args);

/// dx = s dy; ds += sum(dy x), in an order that does not depend on the number of threads, nor on CUDA on the GPU.
struct ScaleBackward {
  Tensor dx;  ///< out, of any shape; may be dy
  Tensor ds;  ///< inout (1) acc_dtype, added to
  Tensor dy;  ///< as dx
  Tensor x;   ///< as dx
  Tensor s;   ///< (1)
};
void scale_backward(const Stream& stream, const ScaleBackward& args);

namespace cpu {
void scale_forward(const Stream& stream, const ScaleForward& args);
void scale_backward(const Stream& stream, const ScaleBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
/// Blocks that the sum over n elements is cut into.
inline std::int64_t num_scale_blocks(std::int64_t n) { return std::clamp<std::int64_t>(n / 16384, 1, 1024); }
void scale_forward(const Stream& stream, const ScaleForward& args);
void scale_backward(const Stream& stream, const ScaleBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
