#include "kernels/optim/adamw.h"

namespace spikesink::kernels {

void adamw(const Stream& stream, const AdamW& a) {
  for (const AdamWSegment& s : a.segments) {
    require_tensor(s.weight, "adamw weight", s.weight.shape(), s.weight.dtype());
    require_tensor(s.grad, "adamw grad", s.weight.shape(), s.weight.dtype());
    require_tensor(s.m, "adamw m", s.weight.shape(), s.weight.dtype());
    require_tensor(s.v, "adamw v", s.weight.shape(), s.weight.dtype());
  }
  require(a.step >= 1, "adamw step: ", a.step, ", the first is 1");
  require(a.beta1 >= 0 && a.beta1 < 1 && a.beta2 >= 0 && a.beta2 < 1, "adamw betas: ", a.beta1, ", ", a.beta2);
  require(a.eps >= 0, "adamw eps: ", a.eps);
  cpu::adamw(stream, a);
}

}  // namespace spikesink::kernels
