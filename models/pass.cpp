#include "models/pass.h"

#include "kernels/elementwise/add.h"

namespace spikesink {

void Grad::add(const Pass& pass, Tensor g) const {
  Tensor& sum = *slot_;
  if (!sum) {
    sum = std::move(g);
    return;
  }
  Tensor y = sum.sole_owner() ? sum : g.sole_owner() ? g : pass.like(sum);
  kernels::add(pass.stream, {.y = y, .a = sum, .b = g});
  sum = std::move(y);
}

}  // namespace spikesink
