#include "kernels/gate/gate.h"

#include "models/ops/ops.h"

namespace spikesink::ops {
namespace {

void show(Pass& pass, std::string_view path, const Tensor& logits, kernels::GateRows rows, std::int64_t num_heads) {
  if (pass.observer && pass.mode != Pass::Mode::kRecompute)
    pass.observer->gate(path, {.logits = logits, .rows = rows, .n_heads = num_heads, .length = pass.batch.length});
}
}  // namespace

Var gate(Pass& pass, Var heads, Var logits, std::int64_t num_heads, std::int64_t d_head, std::string_view path) {
  const std::int64_t length = pass.batch.length;
  constexpr auto kRows = kernels::GateRows::kToken;
  show(pass, path, logits.value, kRows, num_heads);
  const auto forward = [&pass, num_heads, d_head, length, x = heads.value, g = logits.value] {
    Tensor y = pass.like(x);
    kernels::gate_forward(
        pass.stream,
        {.y = y, .x = x, .logits = g, .rows = kRows, .n_heads = num_heads, .d_head = d_head, .length = length});
    return y;
  };
  const auto backward = [&pass, num_heads, d_head, length, x = heads.value, g = logits.value, to_x = heads.grad,
                         to_g = logits.grad](Tensor dy) {
    Tensor dx = pass.like(x), dg = pass.like(g);
    kernels::gate_backward(pass.stream, {.dx = dx,
                                         .dlogits = dg,
                                         .dy = dy,
                                         .x = x,
                                         .logits = g,
                                         .rows = kRows,
                                         .n_heads = num_heads,
                                         .d_head = d_head,
                                         .length = length});
    to_x.add(pass, dx);
    to_g.add(pass, dg);
  };
  return pass.record(forward(), backward, forward);
}

Var gate(Pass& pass, Var heads, const Param& logits, kernels::GateRows rows, std::int64_t num_heads,
         std::int64_t d_head, std::string_view path) {
  const std::int64_t length = pass.batch.length;
  // A row for all tokens is a vector to the optimizer and a matrix of one row to the kernel.
  const Shape shape = logits.shape.rank() == 1 ? Shape{1, logits.shape[0]} : logits.shape;
  show(pass, path, logits.value.view(shape), rows, num_heads);
  const auto forward = [&pass, &logits, rows, num_heads, d_head, length, shape, x = heads.value] {
    Tensor y = pass.like(x);
    kernels::gate_forward(pass.stream, {.y = y,
                                        .x = x,
                                        .logits = logits.value.view(shape),
                                        .rows = rows,
                                        .n_heads = num_heads,
                                        .d_head = d_head,
                                        .length = length});
    return y;
  };
  const auto backward = [&pass, &logits, rows, num_heads, d_head, length, shape, x = heads.value,
                         to_x = heads.grad](Tensor dy) {
    Tensor dx = pass.like(x);
    kernels::gate_backward(pass.stream, {.dx = dx,
                                         .dlogits = logits.grad.view(shape),
                                         .dy = dy,
                                         .x = x,
                                         .logits = logits.value.view(shape),
                                         .rows = rows,
                                         .n_heads = num_heads,
                                         .d_head = d_head,
                                         .length = length});
    to_x.add(pass, dx);
  };
  return pass.record(forward(), backward, forward);
}

}  // namespace spikesink::ops
