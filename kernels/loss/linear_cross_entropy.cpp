#include "kernels/loss/linear_cross_entropy.h"

namespace spikesink::kernels {

void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& a) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t V = a.weight.shape()[0];
  require_tensor(a.x, "linear_cross_entropy x", {N, C}, a.x.dtype());
  require_tensor(a.weight, "linear_cross_entropy weight", {V, C}, a.x.dtype());
  require_tensor(a.targets, "linear_cross_entropy targets", {N}, DType::kI32);
  require_tensor(a.loss, "linear_cross_entropy loss", {N}, a.x.dtype());
  require(static_cast<bool>(a.dx) == static_cast<bool>(a.dweight), "linear_cross_entropy: dx and dweight go together");
  if (a.dx) {
    require_tensor(a.dx, "linear_cross_entropy dx", {N, C}, a.x.dtype());
    require_tensor(a.dweight, "linear_cross_entropy dweight", {V, C}, a.x.dtype());
  }
  require(a.chunk_elements > 0, "linear_cross_entropy chunk_elements: ", a.chunk_elements);
  for (const std::int32_t target : a.targets.span<std::int32_t>())
    require(target >= -1 && target < V, "linear_cross_entropy target ", target, " of ", V);
  cpu::linear_cross_entropy(stream, a);
}

}  // namespace spikesink::kernels
