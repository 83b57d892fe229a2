#include "kernels/rope/rope.h"

#include "kernels/core/dispatch.h"
#include "kernels/rope/rope_angles.h"

namespace spikesink::kernels {
namespace {
void require_rope(const Stream& stream, const Tensor& out, const Tensor& in, std::int64_t num_heads,
                  std::int64_t d_head, std::int64_t length, double theta, const RopeScaling& scaling) {
  const auto [N, W] = matrix_dims(in);
  require_tensor(in, "rope input", {N, W}, in.dtype(), stream.device);
  require_tensor(out, "rope output", {N, W}, in.dtype(), stream.device);
  require(d_head > 0 && d_head % 2 == 0, "rope d_head: ", d_head, ", expected an even number");
  require(stream.device == Device::kCpu || d_head <= kMaxRopeHead, "rope d_head: ", d_head, ", on cuda at most ",
          kMaxRopeHead);
  require(num_heads >= 0 && num_heads * d_head <= W, "rope: ", num_heads, " heads of ", d_head, " in rows of ", W);
  require(length > 0 && N % length == 0, "rope: ", N, " rows are not whole sequences of ", length);
  require(theta > 0, "rope theta: ", theta, ", expected > 0");
  require_scaling(scaling);
}

ScratchBytes scratch_of(const Stream& stream, const Tensor& in, std::int64_t d_head, std::int64_t length) {
  return {.cpu = cpu::rope_angles_bytes(stream, length, d_head, in.dtype())};
}
}  // namespace

void rope_forward(const Stream& stream, const RopeForward& a) {
  require_rope(stream, a.y, a.x, a.num_heads, a.d_head, a.length, a.theta, a.scaling);
  dispatch<cpu::rope_forward, cuda::rope_forward>(stream, a, scratch_of(stream, a.x, a.d_head, a.length));
}

void rope_backward(const Stream& stream, const RopeBackward& a) {
  require_rope(stream, a.dx, a.dy, a.num_heads, a.d_head, a.length, a.theta, a.scaling);
  dispatch<cpu::rope_backward, cuda::rope_backward>(stream, a, scratch_of(stream, a.dy, a.d_head, a.length));
}

}  // namespace spikesink::kernels
