#include "kernels/norm/dynamic_tanh.h"

namespace spikesink::kernels {

void dynamic_tanh_forward(const Stream& stream, const DynamicTanhForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "dynamic_tanh x", {N, C}, a.x.dtype());
  require_tensor(a.weight, "dynamic_tanh weight", {C}, a.x.dtype());
  if (a.bias) require_tensor(a.bias, "dynamic_tanh bias", {C}, a.x.dtype());
  require_tensor(a.alpha, "dynamic_tanh alpha", {1}, a.x.dtype());
  require_tensor(a.y, "dynamic_tanh y", {N, C}, a.x.dtype());
  cpu::dynamic_tanh_forward(stream, a);
}

void dynamic_tanh_backward(const Stream& stream, const DynamicTanhBackward& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "dynamic_tanh x", {N, C}, a.x.dtype());
  require_tensor(a.weight, "dynamic_tanh weight", {C}, a.x.dtype());
  require_tensor(a.alpha, "dynamic_tanh alpha", {1}, a.x.dtype());
  require_tensor(a.dy, "dynamic_tanh dy", {N, C}, a.x.dtype());
  require_tensor(a.dx, "dynamic_tanh dx", {N, C}, a.x.dtype());
  require_tensor(a.dweight, "dynamic_tanh dweight", {C}, a.x.dtype());
  if (a.dbias) require_tensor(a.dbias, "dynamic_tanh dbias", {C}, a.x.dtype());
  require_tensor(a.dalpha, "dynamic_tanh dalpha", {1}, a.x.dtype());
  cpu::dynamic_tanh_backward(stream, a);
}

}  // namespace spikesink::kernels
