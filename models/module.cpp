#include "models/module.h"

#include "kernels/core/nvtx.h"

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
  if (path_.empty()) return forward(pass, std::move(x));
  const Range range(path_.c_str());
  // On the way back these two come in the other order, around the steps of forward.
  if constexpr (kHasRanges) pass.on_the_way_back(end_range);
  Var y = forward(pass, std::move(x));
  if (pass.intervention) y.value = pass.intervention->activation(path_, y.value);
  report(pass, path_, y);
  if constexpr (kHasRanges) pass.on_the_way_back([this] { begin_range(path_.c_str()); });
  return y;
}

}  // namespace spikesink
