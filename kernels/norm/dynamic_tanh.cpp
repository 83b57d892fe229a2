#include "kernels/norm/dynamic_tanh.h"

#include "kernels/core/column_sums.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/row_sums.h"

namespace spikesink::kernels {

void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const DType dtype = a.x.dtype();
  require_tensor(a.x, "dynamic_tanh x", {N, C}, dtype, stream.device);
  require_tensor(a.weight, "dynamic_tanh weight", {C}, dtype, stream.device);
  if (a.bias) require_tensor(a.bias, "dynamic_tanh bias", {C}, dtype, stream.device);
  require_tensor(a.alpha, "dynamic_tanh alpha", {1}, dtype, stream.device);
  require_tensor(a.y, "dynamic_tanh y", {N, C}, dtype, stream.device);
  dispatch<cpu::dynamic_tanh_forward, cuda::dynamic_tanh_forward>(stream, a);
}

void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const DType dtype = a.x.dtype(), acc = acc_dtype(dtype);
  require_tensor(a.x, "dynamic_tanh x", {N, C}, dtype, stream.device);
  require_tensor(a.weight, "dynamic_tanh weight", {C}, dtype, stream.device);
  require_tensor(a.alpha, "dynamic_tanh alpha", {1}, dtype, stream.device);
  require_tensor(a.dy, "dynamic_tanh dy", {N, C}, dtype, stream.device);
  require_tensor(a.dx, "dynamic_tanh dx", {N, C}, dtype, stream.device);
  require(!a.accumulate || a.dx.raw() != a.dy.raw(), "dynamic_tanh dx: is dy, which cannot be accumulated to");
  require_tensor(a.dweight, "dynamic_tanh dweight", {C}, acc, stream.device);
  if (a.dbias) require_tensor(a.dbias, "dynamic_tanh dbias", {C}, acc, stream.device);
  require_tensor(a.dalpha, "dynamic_tanh dalpha", {1}, acc, stream.device);
  const std::int64_t width = (a.dbias ? 2 : 1) * C + 1;
  dispatch<cpu::dynamic_tanh_backward, cuda::dynamic_tanh_backward>(
      stream, a,
      {.cpu = cpu::row_sums_bytes(dtype, N, width), .cuda = scratch_bytes<float>(cuda::num_row_blocks(N) * width)});
}

}  // namespace spikesink::kernels
