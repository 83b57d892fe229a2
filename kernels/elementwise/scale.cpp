#include "kernels/elementwise/scale.h"

#include "kernels/core/dispatch.h"
#include "kernels/core/row_sums.h"

namespace spikesink::kernels {

void scale_forward(const Stream& stream, const ScaleForward& a) {
  require_tensor(a.x, "scale x", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.y, "scale y", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.s, "scale s", {1}, a.x.dtype(), stream.device);
  dispatch<cpu::scale_forward, cuda::scale_forward>(stream, a);
}

void scale_backward(const Stream& stream, const ScaleBackward& a) {
  require_tensor(a.x, "scale x", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.dy, "scale dy", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.dx, "scale dx", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.s, "scale s", {1}, a.x.dtype(), stream.device);
  require_tensor(a.ds, "scale ds", {1}, acc_dtype(a.x.dtype()), stream.device);
  dispatch<cpu::scale_backward, cuda::scale_backward>(
      stream, a,
      {.cpu = cpu::row_sums_bytes(a.x.dtype(), matrix_dims(a.x).rows, 1),
       .cuda = scratch_bytes<float>(cuda::num_scale_blocks(a.x.numel()))});
}

}  // namespace spikesink::kernels
