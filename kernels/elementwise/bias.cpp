#include "kernels/elementwise/bias.h"

#include "kernels/core/column_sums.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/row_sums.h"

namespace spikesink::kernels {

void bias_forward(const Stream& stream, const BiasForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "bias x", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.y, "bias y", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.b, "bias b", {C}, a.x.dtype(), stream.device);
  dispatch<cpu::bias_forward, cuda::bias_forward>(stream, a);
}

void bias_backward(const Stream& stream, const BiasBackward& a) {
  const auto [N, C] = matrix_dims(a.dy);
  require_tensor(a.dy, "bias dy", {N, C}, a.dy.dtype(), stream.device);
  require_tensor(a.db, "bias db", {C}, acc_dtype(a.dy.dtype()), stream.device);
  dispatch<cpu::bias_backward, cuda::bias_backward>(
      stream, a,
      {.cpu = cpu::row_sums_bytes(a.dy.dtype(), N, C), .cuda = scratch_bytes<float>(cuda::num_row_blocks(N) * C)});
}

}  // namespace spikesink::kernels
