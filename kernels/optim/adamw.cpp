#include "kernels/optim/adamw.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void adamw(const Stream& stream, const AdamW& a) {
  for (const AdamWSegment& s : a.segments) {
    const DType dtype = s.weight.dtype(), state = s.master ? DType::kF32 : dtype;
    const bool on_cpu = stream.device == Device::kCpu;
    require_tensor(s.weight, "adamw weight", s.weight.shape(), dtype, stream.device);
    require(dtype == DType::kF32 || dtype == (on_cpu ? DType::kF64 : DType::kBF16), "adamw weight: ", name_of(dtype),
            " on ", name_of(stream.device));
    require_tensor(s.grad, "adamw grad", s.weight.shape(), acc_dtype(dtype), stream.device);
    require_tensor(s.m, "adamw m", s.weight.shape(), state, stream.device);
    require_tensor(s.v, "adamw v", s.weight.shape(), state, stream.device);
    if (!s.master) continue;
    require_tensor(s.master, "adamw master", s.weight.shape(), DType::kF32, stream.device);
    require(dtype == DType::kBF16, "adamw master: of a weight in ", name_of(dtype), ", expected bf16");
  }
  require(a.step >= 1, "adamw step: ", a.step, ", the first is 1");
  require(a.beta1 >= 0 && a.beta1 < 1 && a.beta2 >= 0 && a.beta2 < 1, "adamw betas: ", a.beta1, ", ", a.beta2);
  require(a.eps >= 0, "adamw eps: ", a.eps);
  require(a.clip >= 0, "adamw clip: ", a.clip);
  require(a.clip == 0 || a.grad_squares, "adamw grad_squares: no tensor, but clip: ", a.clip);
  if (a.grad_squares) require_tensor(a.grad_squares, "adamw grad_squares", {1}, DType::kF64, stream.device);
  if (a.loss) require_tensor(a.loss, "adamw loss", {1}, DType::kF64, stream.device);
  dispatch<cpu::adamw, cuda::adamw>(stream, a);
}

}  // namespace spikesink::kernels
