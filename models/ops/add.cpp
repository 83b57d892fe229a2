#include "kernels/elementwise/add.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var branch(Pass& pass, const Var& x) {
  return pass.record(x.value, [&pass, to_x = x.grad](Tensor dy) { to_x.add(pass, std::move(dy)); });
}

Var add(Pass& pass, Var a, Var b) {
  Tensor y = b.value.sole_owner() ? b.value : pass.like(a.value);
  kernels::add(pass.stream, {.y = y, .a = a.value, .b = b.value});
  return pass.record(y, [&pass, to_a = a.grad, to_b = b.grad](Tensor dy) {
    to_a.add(pass, dy);
    to_b.add(pass, std::move(dy));
  });
}

}  // namespace spikesink::ops
