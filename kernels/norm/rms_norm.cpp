#include "kernels/norm/rms_norm.h"

#include "kernels/core/column_sums.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/row_sums.h"

namespace spikesink::kernels {

void rms_norm_forward(const Stream& stream, const RmsNormForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "rms_norm x", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.weight, "rms_norm weight", {C}, a.x.dtype(), stream.device);
  require_tensor(a.y, "rms_norm y", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.rstd, "rms_norm rstd", {N}, acc_dtype(a.x.dtype()), stream.device);
  require(a.eps > 0, "rms_norm eps: ", a.eps, ", expected > 0");
  dispatch<cpu::rms_norm_forward, cuda::rms_norm_forward>(stream, a);
}

void rms_norm_backward(const Stream& stream, const RmsNormBackward& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "rms_norm x", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.weight, "rms_norm weight", {C}, a.x.dtype(), stream.device);
  require_tensor(a.rstd, "rms_norm rstd", {N}, acc_dtype(a.x.dtype()), stream.device);
  require_tensor(a.dy, "rms_norm dy", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.dx, "rms_norm dx", {N, C}, a.x.dtype(), stream.device);
  require(!a.accumulate || a.dx.raw() != a.dy.raw(), "rms_norm dx: is dy, which cannot be accumulated to");
  require_tensor(a.dweight, "rms_norm dweight", {C}, acc_dtype(a.x.dtype()), stream.device);
  dispatch<cpu::rms_norm_backward, cuda::rms_norm_backward>(
      stream, a,
      {.cpu = cpu::row_sums_bytes(a.x.dtype(), N, C), .cuda = scratch_bytes<float>(cuda::num_row_blocks(N) * C)});
}

}  // namespace spikesink::kernels
