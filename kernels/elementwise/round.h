#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = x rounded to the nearest bf16, ties to even: what is sent in bf16, and the weights of f32 masters.
struct Round {
  Tensor y;  ///< out bf16, of any shape
  Tensor x;  ///< f32, the shape of y
};
void round(const Stream& stream, const Round& args);

namespace cpu {
void round(const Stream& stream, const Round& args);
}
namespace cuda {
void round(const Stream& stream, const Round& args);
}
}  // namespace spikesink::kernels
