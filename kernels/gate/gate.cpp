#include "kernels/gate/gate.h"

namespace spikesink::kernels {
namespace {

void require_gate(const auto& a, std::int64_t N) {
  const DType dtype = a.x.dtype();
  require(a.n_heads > 0 && a.d_head > 0, "gate: ", a.n_heads, " heads of ", a.d_head);
  const std::int64_t W = a.n_heads * a.d_head;
  require_tensor(a.x, "gate x", {N, W}, dtype);
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
                 dtype);
}
}  // namespace

void gate_forward(const Stream& stream, const GateForward& a) {
  const std::int64_t N = matrix_dims(a.x).rows;
  require_gate(a, N);
  require_tensor(a.y, "gate y", a.x.shape(), a.x.dtype());
  cpu::gate_forward(stream, a);
}

void gate_backward(const Stream& stream, const GateBackward& a) {
  const std::int64_t N = matrix_dims(a.x).rows;
  require_gate(a, N);
  require_tensor(a.dy, "gate dy", a.x.shape(), a.x.dtype());
  require_tensor(a.dx, "gate dx", a.x.shape(), a.x.dtype());
  require_tensor(a.dlogits, "gate dlogits", a.logits.shape(), a.x.dtype());
  cpu::gate_backward(stream, a);
}

}  // namespace spikesink::kernels
