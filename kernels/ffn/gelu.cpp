#include "kernels/ffn/gelu.h"

namespace spikesink::kernels {

void gelu_forward(const Stream& stream, const GeluForward& a) {
  require_tensor(a.y, "gelu y", a.x.shape(), a.x.dtype());
  cpu::gelu_forward(stream, a);
}

void gelu_backward(const Stream& stream, const GeluBackward& a) {
  require_tensor(a.dy, "gelu dy", a.x.shape(), a.x.dtype());
  require_tensor(a.dx, "gelu dx", a.x.shape(), a.x.dtype());
  cpu::gelu_backward(stream, a);
}

}  // namespace spikesink::kernels
