#include "kernels/optim/sum_of_squares.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

double sum_of_squares(const Stream& stream, std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors) {
    require(t && t.dtype() != DType::kI32, "sum_of_squares: ", t.shape(), ' ', name_of(t.dtype()), ", expected floats");
    require_tensor(t, "sum_of_squares", t.shape(), t.dtype(), stream.device);
  }
  return dispatch<cpu::sum_of_squares, cuda::sum_of_squares>(stream, tensors);
}

}  // namespace spikesink::kernels
