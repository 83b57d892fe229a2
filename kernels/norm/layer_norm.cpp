#include "kernels/norm/layer_norm.h"

#include "kernels/core/column_sums.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/row_sums.h"

namespace spikesink::kernels {

void layer_norm_forward(const Stream& stream, const LayerNormForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const DType dtype = a.x.dtype(), acc = acc_dtype(dtype);
  require_tensor(a.x, "layer_norm x", {N, C}, dtype, stream.device);
  require_tensor(a.weight, "layer_norm weight", {C}, dtype, stream.device);
  require_tensor(a.bias, "layer_norm bias", {C}, dtype, stream.device);
  require_tensor(a.y, "layer_norm y", {N, C}, dtype, stream.device);
  require_tensor(a.mean, "layer_norm mean", {N}, acc, stream.device);
  require_tensor(a.rstd, "layer_norm rstd", {N}, acc, stream.device);
  require(a.eps > 0, "layer_norm eps: ", a.eps, ", expected > 0");
  dispatch<cpu::layer_norm_forward, cuda::layer_norm_forward>(stream, a);
}

void layer_norm_backward(const Stream& stream, const LayerNormBackward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const DType dtype = a.x.dtype(), acc = acc_dtype(dtype);
  require_tensor(a.x, "layer_norm x", {N, C}, dtype, stream.device);
  require_tensor(a.weight, "layer_norm weight", {C}, dtype, stream.device);
  require_tensor(a.mean, "layer_norm mean", {N}, acc, stream.device);
  require_tensor(a.rstd, "layer_norm rstd", {N}, acc, stream.device);
  require_tensor(a.dy, "layer_norm dy", {N, C}, dtype, stream.device);
  require_tensor(a.dx, "layer_norm dx", {N, C}, dtype, stream.device);
  require(!a.accumulate || a.dx.raw() != a.dy.raw(), "layer_norm dx: is dy, which cannot be accumulated to");
  require_tensor(a.dweight, "layer_norm dweight", {C}, acc, stream.device);
  require_tensor(a.dbias, "layer_norm dbias", {C}, acc, stream.device);
  dispatch<cpu::layer_norm_backward, cuda::layer_norm_backward>(
      stream, a,
      {.cpu = cpu::row_sums_bytes(dtype, N, 2 * C), .cuda = scratch_bytes<float>(cuda::num_row_blocks(N) * 2 * C)});
}

}  // namespace spikesink::kernels
