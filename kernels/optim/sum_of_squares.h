#pragma once
#include <span>

#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// The sum of x^2 over all elements of all tensors, in double and in an order that does not depend on the number of
/// threads: its root is the global norm of gradients.
struct SumOfSquares {
  Tensor total;  ///< out f64 (1)
  std::span<const Tensor> tensors;
};
void sum_of_squares(const Stream& stream, const SumOfSquares& args);

/// Elements that are summed at a time; each sum, in f64, takes a place in the scratch.
inline constexpr std::int64_t kSquaresBlock = 1 << 14;

namespace cpu {
void sum_of_squares(const Stream& stream, const SumOfSquares& args, Scratch scratch);
}
namespace cuda {
void sum_of_squares(const Stream& stream, const SumOfSquares& args, Scratch scratch);
}
}  // namespace spikesink::kernels
