#include "kernels/ffn/gelu.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void gelu_forward(const Stream& stream, const GeluForward& a) {
  require_tensor(a.x, "gelu x", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.y, "gelu y", a.x.shape(), a.x.dtype(), stream.device);
  dispatch<cpu::gelu_forward, cuda::gelu_forward>(stream, a);
}

void gelu_backward(const Stream& stream, const GeluBackward& a) {
  require_tensor(a.x, "gelu x", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.dy, "gelu dy", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.dx, "gelu dx", a.x.shape(), a.x.dtype(), stream.device);
  dispatch<cpu::gelu_backward, cuda::gelu_backward>(stream, a);
}

}  // namespace spikesink::kernels
