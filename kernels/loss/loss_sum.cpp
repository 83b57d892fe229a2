#include "kernels/loss/loss_sum.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void loss_sum(const Stream& stream, const LossSum& a) {
  require_tensor(a.total, "loss_sum total", {1}, DType::kF64, stream.device);
  require_tensor(a.losses, "loss_sum losses", {a.losses.numel()}, acc_dtype(a.losses.dtype()), stream.device);
  dispatch<cpu::loss_sum, cuda::loss_sum>(stream, a);
}

}  // namespace spikesink::kernels
