#include "kernels/rope/qk_norm_rope.h"

#include "kernels/core/column_sums.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/row_sums.h"
#include "kernels/rope/rope_angles.h"

namespace spikesink::kernels {
namespace {

/// What both ways have in common; W is the width of a row.
void require_qk_norm_rope(const Stream& stream, const auto& a, std::int64_t N, std::int64_t W) {
  const DType dtype = a.x.dtype();
  require(a.n_heads > 0 && a.n_kv_heads > 0, "qk_norm_rope heads: ", a.n_heads, " and ", a.n_kv_heads);
  require(a.d_head > 0 && a.d_head % 2 == 0, "qk_norm_rope d_head: ", a.d_head, ", expected an even number");
  require(stream.device == Device::kCpu || a.d_head <= kMaxRopeHead, "qk_norm_rope d_head: ", a.d_head,
          ", on cuda at most ", kMaxRopeHead);
  require(a.length > 0 && N % a.length == 0, "qk_norm_rope: ", N, " rows are not whole sequences of ", a.length);
  require(a.theta > 0, "qk_norm_rope theta: ", a.theta, ", expected > 0");
  require_scaling(a.scaling);
  require((a.n_heads + 2 * a.n_kv_heads) * a.d_head == W, "qk_norm_rope x: rows of ", W, ", expected ", a.n_heads,
          " + 2 * ", a.n_kv_heads, " heads of ", a.d_head);
  require_tensor(a.x, "qk_norm_rope x", {N, W}, dtype, stream.device);
  const bool full = a.mode == QkNormMode::kFull;
  require_tensor(a.rstd, "qk_norm_rope rstd", {N, full ? 2 : a.n_heads + a.n_kv_heads}, acc_dtype(dtype),
                 stream.device);
  require_tensor(a.q_weight, "qk_norm_rope q_weight", {(full ? a.n_heads : 1) * a.d_head}, dtype, stream.device);
  require_tensor(a.k_weight, "qk_norm_rope k_weight", {(full ? a.n_kv_heads : 1) * a.d_head}, dtype, stream.device);
}
}  // namespace

void qk_norm_rope_forward(const Stream& stream, const QkNormRopeForward& a) {
  const auto [N, W] = matrix_dims(a.x);
  require_qk_norm_rope(stream, a, N, W);
  require_tensor(a.y, "qk_norm_rope y", {N, W}, a.x.dtype(), stream.device);
  require(a.eps > 0, "qk_norm_rope eps: ", a.eps, ", expected > 0");
  dispatch<cpu::qk_norm_rope_forward, cuda::qk_norm_rope_forward>(
      stream, a, {.cpu = cpu::rope_angles_bytes(stream, a.length, a.d_head, a.x.dtype())});
}

void qk_norm_rope_backward(const Stream& stream, const QkNormRopeBackward& a) {
  const auto [N, W] = matrix_dims(a.x);
  require_qk_norm_rope(stream, a, N, W);
  require_tensor(a.dy, "qk_norm_rope dy", {N, W}, a.x.dtype(), stream.device);
  require_tensor(a.dx, "qk_norm_rope dx", {N, W}, a.x.dtype(), stream.device);
  require_tensor(a.dq_weight, "qk_norm_rope dq_weight", a.q_weight.shape(), acc_dtype(a.x.dtype()), stream.device);
  require_tensor(a.dk_weight, "qk_norm_rope dk_weight", a.k_weight.shape(), acc_dtype(a.x.dtype()), stream.device);
  const std::int64_t P = cuda::num_row_blocks(N), q = a.q_weight.numel(), k = a.k_weight.numel();
  dispatch<cpu::qk_norm_rope_backward, cuda::qk_norm_rope_backward>(
      stream, a,
      {.cpu =
           cpu::rope_angles_bytes(stream, a.length, a.d_head, a.x.dtype()) + cpu::row_sums_bytes(a.x.dtype(), N, q + k),
       .cuda = scratch_bytes<float>(P * q) + scratch_bytes<float>(P * k)});
}

}  // namespace spikesink::kernels
