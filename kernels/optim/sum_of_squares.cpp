#include "kernels/optim/sum_of_squares.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void sum_of_squares(const Stream& stream, const SumOfSquares& a) {
  require_tensor(a.total, "sum_of_squares total", {1}, DType::kF64, stream.device);
  std::int64_t blocks = 0;
  for (const Tensor& t : a.tensors) {
    require(t && t.dtype() != DType::kI32, "sum_of_squares: ", t.shape(), ' ', name_of(t.dtype()), ", expected floats");
    require_tensor(t, "sum_of_squares", t.shape(), t.dtype(), stream.device);
    blocks += (t.numel() + kSquaresBlock - 1) / kSquaresBlock;
  }
  const std::int64_t bytes = scratch_bytes<double>(blocks);
  dispatch<cpu::sum_of_squares, cuda::sum_of_squares>(stream, a, {.cpu = bytes, .cuda = bytes});
}

}  // namespace spikesink::kernels
