#include "kernels/norm/layer_norm.h"

namespace spikesink::kernels {

void layer_norm_forward(const Stream& stream, const LayerNormForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "layer_norm x", {N, C}, a.x.dtype());
  require_tensor(a.weight, "layer_norm weight", {C}, a.x.dtype());
  require_tensor(a.bias, "layer_norm bias", {C}, a.x.dtype());
  require_tensor(a.y, "layer_norm y", {N, C}, a.x.dtype());
  require_tensor(a.mean, "layer_norm mean", {N}, a.x.dtype());
  require_tensor(a.rstd, "layer_norm rstd", {N}, a.x.dtype());
  require(a.eps > 0, "layer_norm eps: ", a.eps, ", expected > 0");
  cpu::layer_norm_forward(stream, a);
}

void layer_norm_backward(const Stream& stream, const LayerNormBackward& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "layer_norm x", {N, C}, a.x.dtype());
  require_tensor(a.weight, "layer_norm weight", {C}, a.x.dtype());
  require_tensor(a.mean, "layer_norm mean", {N}, a.x.dtype());
  require_tensor(a.rstd, "layer_norm rstd", {N}, a.x.dtype());
  require_tensor(a.dy, "layer_norm dy", {N, C}, a.x.dtype());
  require_tensor(a.dx, "layer_norm dx", {N, C}, a.x.dtype());
  require_tensor(a.dweight, "layer_norm dweight", {C}, a.x.dtype());
  require_tensor(a.dbias, "layer_norm dbias", {C}, a.x.dtype());
  cpu::layer_norm_backward(stream, a);
}

}  // namespace spikesink::kernels
