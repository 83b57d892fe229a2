#include "kernels/linear/linear.h"

namespace spikesink::kernels {

void linear_forward(const Stream& stream, const LinearForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t O = a.weight.shape()[0];
  require_tensor(a.x, "linear x", {N, C}, a.x.dtype());
  require_tensor(a.weight, "linear weight", {O, C}, a.x.dtype());
  require_tensor(a.y, "linear y", {N, O}, a.x.dtype());
  cpu::linear_forward(stream, a);
}

void linear_backward(const Stream& stream, const LinearBackward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t O = a.weight.shape()[0];
  require_tensor(a.x, "linear x", {N, C}, a.x.dtype());
  require_tensor(a.weight, "linear weight", {O, C}, a.x.dtype());
  require_tensor(a.dy, "linear dy", {N, O}, a.x.dtype());
  require_tensor(a.dx, "linear dx", {N, C}, a.x.dtype());
  require_tensor(a.dweight, "linear dweight", {O, C}, a.x.dtype());
  cpu::linear_backward(stream, a);
}

}  // namespace spikesink::kernels
