#include "kernels/optim/sum_of_squares.h"

namespace spikesink::kernels {

double sum_of_squares(const Stream& stream, std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors)
    require(t && t.dtype() != DType::kI32, "sum_of_squares: ", t.shape(), ' ', name_of(t.dtype()), ", expected floats");
  return cpu::sum_of_squares(stream, tensors);
}

}  // namespace spikesink::kernels
