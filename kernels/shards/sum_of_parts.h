#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y = parts[0] + parts[1] + ..., one after another in the dtype of y: the same bits wherever it is summed.
struct SumOfParts {
  Tensor y;      ///< out (n)     f32 or f64
  Tensor parts;  ///< in  (W, n)  as y, or bf16 for f32; W > 0
};
void sum_of_parts(const Stream& stream, const SumOfParts& args);

namespace cpu {
void sum_of_parts(const Stream& stream, const SumOfParts& args);
}
namespace cuda {
void sum_of_parts(const Stream& stream, const SumOfParts& args);
}
}  // namespace spikesink::kernels
