#include "kernels/ffn/silu_mul.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var silu_mul(Pass& pass, Var gate_up, std::string_view path) {
  if (pass.observer && pass.mode != Pass::Mode::kRecompute) pass.observer->swiglu(path, {.gate_up = gate_up.value});
  const auto forward = [&pass, gate_up = gate_up.value] {
    const auto [N, F2] = matrix_dims(gate_up);
    Tensor y = pass.empty({N, F2 / 2}, gate_up.dtype());
    kernels::silu_mul_forward(pass.stream, {.y = y, .gate_up = gate_up});
    return y;
  };
  const auto backward = [&pass, gate_up = gate_up.value, to_gate_up = gate_up.grad](Tensor dy) {
    Tensor dgate_up = pass.like(gate_up);
    kernels::silu_mul_backward(pass.stream, {.dgate_up = dgate_up, .dy = dy, .gate_up = gate_up});
    to_gate_up.add(pass, std::move(dgate_up));
  };
  return pass.record(forward(), backward, forward);
}

}  // namespace spikesink::ops
