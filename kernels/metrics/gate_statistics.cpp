#include "kernels/metrics/gate_statistics.h"

#include <limits>

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void gate_statistics(const Stream& stream, const GateStatistics& a) {
  const auto [R, G] = matrix_dims(a.logits);
  const DType dtype = acc_dtype(a.logits.dtype());
  const auto [B, H] = matrix_dims(a.mean);
  require_tensor(a.logits, "gate_statistics logits", {R, G}, a.logits.dtype(), stream.device);
  require(H > 0 && G % H == 0, "gate_statistics: ", G, " logits a row are not those of ", H, " heads");
  require(a.length > 0 && B * a.length <= R, "gate_statistics: ", R, " rows, expected ", B, " sequences of ", a.length);
  require(a.length * (G / H) <= std::numeric_limits<std::int32_t>::max(), "gate_statistics: ", a.length,
          " positions of ", G / H, " columns are too many to count");
  require_tensor(a.mean, "gate_statistics mean", {B, H}, dtype, stream.device);
  require_tensor(a.variance, "gate_statistics variance", {B, H}, dtype, stream.device);
  require_tensor(a.first, "gate_statistics first", {B, H}, dtype, stream.device);
  require_tensor(a.counts, "gate_statistics counts", {B, H, kGateBins}, DType::kI32, stream.device);
  dispatch<cpu::gate_statistics, cuda::gate_statistics>(stream, a);
}

}  // namespace spikesink::kernels
