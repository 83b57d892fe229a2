#include "kernels/elementwise/scale.h"

namespace spikesink::kernels {

void scale_forward(const Stream& stream, const ScaleForward& a) {
  require_tensor(a.y, "scale y", a.x.shape(), a.x.dtype());
  require_tensor(a.s, "scale s", {1}, a.x.dtype());
  cpu::scale_forward(stream, a);
}

void scale_backward(const Stream& stream, const ScaleBackward& a) {
  require_tensor(a.dy, "scale dy", a.x.shape(), a.x.dtype());
  require_tensor(a.dx, "scale dx", a.x.shape(), a.x.dtype());
  require_tensor(a.s, "scale s", {1}, a.x.dtype());
  require_tensor(a.ds, "scale ds", {1}, a.x.dtype());
  cpu::scale_backward(stream, a);
}

}  // namespace spikesink::kernels
