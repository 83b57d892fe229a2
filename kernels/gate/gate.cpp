#include "kernels/gate/gate.h"

#include "kernels/core/column_sums.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/row_sums.h"

namespace spikesink::kernels {
namespace {

void require_gate(const Stream& stream, const auto& a, std::int64_t N) {
  const DType dtype = a.x.dtype();
  require(a.n_heads > 0 && a.d_head > 0, "gate: ", a.n_heads, " heads of ", a.d_head);
  const std::int64_t W = a.n_heads * a.d_head;
  require_tensor(a.x, "gate x", {N, W}, dtype, stream.device);
  const auto [R, G] = matrix_dims(a.logits);
  require(G == W || G == a.n_heads || G == 1, "gate logits: ", G, " a row, expected ", W, ", ", a.n_heads, " or 1");
  if (a.rows == GateRows::kPosition) {
    require(a.length > 0 && N % a.length == 0, "gate: ", N, " rows are not whole sequences of ", a.length);
    require(R >= a.length, "gate logits: ", R, " positions, expected at least ", a.length);
  }
  require_tensor(a.logits, "gate logits",
                 {a.rows == GateRows::kToken      ? N
                  : a.rows == GateRows::kConstant ? 1
                                                  : R,
                  G},
                 dtype, stream.device);
}

/// The CPU's: the sigmoids of a row for each thread.
std::int64_t sigmoids_bytes(const Stream& stream, const auto& a) {
  return scratch_bytes<std::byte>(stream.num_threads * a.logits.shape()[1] * size_of(a.x.dtype()));
}
}  // namespace

void gate_forward(const Stream& stream, const GateForward& a) {
  require_gate(stream, a, matrix_dims(a.x).rows);
  require_tensor(a.y, "gate y", a.x.shape(), a.x.dtype(), stream.device);
  dispatch<cpu::gate_forward, cuda::gate_forward>(stream, a, {.cpu = sigmoids_bytes(stream, a)});
}

void gate_backward(const Stream& stream, const GateBackward& a) {
  const std::int64_t N = matrix_dims(a.x).rows;
  require_gate(stream, a, N);
  require_tensor(a.dy, "gate dy", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.dx, "gate dx", a.x.shape(), a.x.dtype(), stream.device);
  require_tensor(a.dlogits, "gate dlogits", a.logits.shape(),
                 a.rows == GateRows::kToken ? a.x.dtype() : acc_dtype(a.x.dtype()), stream.device);
  const bool sums = a.rows == GateRows::kConstant;
  const std::int64_t G = a.logits.shape()[1];
  dispatch<cpu::gate_backward, cuda::gate_backward>(
      stream, a,
      {.cpu = sigmoids_bytes(stream, a) + (sums ? cpu::row_sums_bytes(a.x.dtype(), N, G) : 0),
       .cuda = sums ? scratch_bytes<float>(cuda::num_row_blocks(N) * G) : 0});
}

}  // namespace spikesink::kernels
