#include "models/layers/residual.h"

#include "models/ops/ops.h"

namespace spikesink {

Residual::Residual(Parts parts) : Module(parts.branch->path() + ".residual"), parts_(std::move(parts)) {}

Var Residual::forward(Pass& pass, Var x) const {
  Var z = (*parts_.branch)(pass, (*parts_.input_norm)(pass, x));
  return ops::add(pass, std::move(x), (*parts_.output_norm)(pass, std::move(z)));
}

}  // namespace spikesink
