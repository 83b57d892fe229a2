#pragma once
#include <span>

#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// The sum of x^2 over all elements of all tensors, in double and in an order that does not depend on the number of
/// threads: its root is the global norm of gradients. On CUDA it waits for the stream.
double sum_of_squares(const Stream& stream, std::span<const Tensor> tensors);

namespace cpu {
double sum_of_squares(const Stream& stream, std::span<const Tensor> tensors);
}
namespace cuda {
double sum_of_squares(const Stream& stream, std::span<const Tensor> tensors);
}
}  // namespace spikesink::kernels
