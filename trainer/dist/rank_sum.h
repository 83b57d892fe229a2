#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/tensor.h"

namespace spikesink {

// Sums over ranks on the host, one rank's part at a time: elements [first, first + count) of `to`, f32 or f64, and as
// many at `part`, of the dtype of `to` or bf16 for f32.

void take_part(const Tensor& to, std::int64_t first, std::int64_t count, const std::byte* part,
               DType dtype);  ///< to = part
void add_part(const Tensor& to, std::int64_t first, std::int64_t count, const std::byte* part,
              DType dtype);  ///< to += part

}  // namespace spikesink
