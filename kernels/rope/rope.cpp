#include "kernels/rope/rope.h"

namespace spikesink::kernels {
namespace {
void require_rope(const Tensor& out, const Tensor& in, std::int64_t num_heads, std::int64_t d_head, std::int64_t length,
                  double theta) {
  const auto [N, W] = matrix_dims(in);
  require_tensor(in, "rope input", {N, W}, in.dtype());
  require_tensor(out, "rope output", {N, W}, in.dtype());
  require(d_head > 0 && d_head % 2 == 0, "rope d_head: ", d_head, ", expected an even number");
  require(num_heads >= 0 && num_heads * d_head <= W, "rope: ", num_heads, " heads of ", d_head, " in rows of ", W);
  require(length > 0 && N % length == 0, "rope: ", N, " rows are not whole sequences of ", length);
  require(theta > 0, "rope theta: ", theta, ", expected > 0");
}
}  // namespace

void rope_forward(const Stream& stream, const RopeForward& a) {
  require_rope(a.y, a.x, a.num_heads, a.d_head, a.length, a.theta);
  cpu::rope_forward(stream, a);
}

void rope_backward(const Stream& stream, const RopeBackward& a) {
  require_rope(a.dx, a.dy, a.num_heads, a.d_head, a.length, a.theta);
  cpu::rope_backward(stream, a);
}

}  // namespace spikesink::kernels
