#include "models/module.h"

namespace spikesink {

Var Module::operator()(Pass& pass, Var x) const {
  Var y = forward(pass, std::move(x));
  if (pass.observer && !path_.empty()) {
    pass.observer->activation(path_, y.value);
    // Recorded after the module's own steps, so run before them: all that used y has sent its gradient by then.
    pass.on_the_way_back([this, observer = pass.observer, grad = y.grad] {
      if (grad.peek()) observer->gradient(path_, grad.peek());
    });
  }
  return y;
}

}  // namespace spikesink
