#include "models/module.h"

namespace spikesink {

void report(Pass& pass, const std::string& path, const Var& y) {
  if (!pass.observer) return;
  if (pass.mode != Pass::Mode::kRecompute) pass.observer->activation(path, y.value);
  // Recorded after the steps of whatever made y, so run before them: all that used y has sent its gradient by then.
  pass.on_the_way_back([&path, observer = pass.observer, grad = y.grad] {
    if (grad.peek()) observer->gradient(path, grad.peek());
  });
}

Var Module::operator()(Pass& pass, Var x) const {
  Var y = forward(pass, std::move(x));
  if (!path_.empty()) report(pass, path_, y);
  return y;
}

}  // namespace spikesink
