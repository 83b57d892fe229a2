#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = s * x, with a learned scalar s.
struct ScaleForward {
  Tensor y;  ///< out, of any shape; may be x
  Tensor x;  ///< as y
  Tensor s;  ///< (1)
};
void scale_forward(const Stream& stream, const ScaleForward& args);

/// dx = s dy; ds += sum(dy x), in an order that does not depend on the number of threads.
struct ScaleBackward {
  Tensor dx;  ///< out, of any shape; may be dy
  Tensor ds;  ///< inout (1), added to
  Tensor dy;  ///< as dx
  Tensor x;   ///< as dx
  Tensor s;   ///< (1)
};
void scale_backward(const Stream& stream, const ScaleBackward& args);

namespace cpu {
void scale_forward(const Stream& stream, const ScaleForward& args);
void scale_backward(const Stream& stream, const ScaleBackward& args);
}  // namespace cpu
}  // namespace spikesink::kernels
