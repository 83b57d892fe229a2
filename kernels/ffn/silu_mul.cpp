#include "kernels/ffn/silu_mul.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void silu_mul_forward(const Stream& stream, const SiluMulForward& a) {
  const auto [N, F] = matrix_dims(a.y);
  require_tensor(a.y, "silu_mul y", {N, F}, a.y.dtype(), stream.device);
  require_tensor(a.gate_up, "silu_mul gate_up", {N, 2 * F}, a.y.dtype(), stream.device);
  dispatch<cpu::silu_mul_forward, cuda::silu_mul_forward>(stream, a);
}

void silu_mul_backward(const Stream& stream, const SiluMulBackward& a) {
  const auto [N, F] = matrix_dims(a.dy);
  require_tensor(a.dy, "silu_mul dy", {N, F}, a.dy.dtype(), stream.device);
  require_tensor(a.gate_up, "silu_mul gate_up", {N, 2 * F}, a.dy.dtype(), stream.device);
  require_tensor(a.dgate_up, "silu_mul dgate_up", {N, 2 * F}, a.dy.dtype(), stream.device);
  dispatch<cpu::silu_mul_backward, cuda::silu_mul_backward>(stream, a);
}

}  // namespace spikesink::kernels
