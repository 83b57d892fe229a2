#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = a + b. On CUDA summed in f32.
struct Add {
  Tensor y;  ///< out, of any shape; may be a or b
  Tensor a;  ///< as y
  Tensor b;  ///< as y
};
void add(const Stream& stream, const Add& args);

namespace cpu {
void add(const Stream& stream, const Add& args);
}
namespace cuda {
void add(const Stream& stream, const Add& args);
}
}  // namespace spikesink::kernels
