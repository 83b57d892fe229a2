#include "models/layers/checkpoint.h"

namespace spikesink {

Var Sequence::forward(Pass& pass, Var x) const {
  for (const ModulePtr& module : modules_) x = (*module)(pass, std::move(x));
  return x;
}

Var Checkpoint::forward(Pass& pass, Var x) const {
  Pass first(pass.stream, pass.batch, Pass::Mode::kForwardOnly, pass.observer, pass.intervention);
  if (pass.token_embedding) first.token_embedding.emplace(*pass.token_embedding);
  Tensor y = (*inner_)(first, Var(x.value)).value;
  const Tensor token = pass.token_embedding ? pass.token_embedding->value : Tensor{};
  const Grad to_token = pass.token_embedding ? pass.token_embedding->grad : Grad{};
  return pass.record(y, [this, &pass, x = x.value, to_x = x.grad, token, to_token](Tensor dy) {
    Pass again(pass.stream, pass.batch, Pass::Mode::kRecompute, pass.observer);
    const Var input(x);
    if (token) {  // its gradient goes straight to the outer place, in the order of a plain pass
      again.token_embedding = Var(token);
      again.token_embedding->grad = to_token;
    }
    again.backward((*inner_)(again, input), std::move(dy));
    if (Tensor dx = input.grad.take()) to_x.add(pass, std::move(dx));
  });
}

}  // namespace spikesink
