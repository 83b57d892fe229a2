#include "kernels/metrics/magnitudes.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void magnitudes(const Stream& stream, const Magnitudes& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "magnitudes x", {N, C}, a.x.dtype(), stream.device);
  require(a.length > 0 && N % a.length == 0, "magnitudes: ", N, " rows are not whole sequences of ", a.length);
  const std::int64_t B = N / a.length;
  require_tensor(a.channel_max, "magnitudes channel_max", {B, C}, acc_dtype(a.x.dtype()), stream.device);
  require_tensor(a.token_max, "magnitudes token_max", {B, a.length}, acc_dtype(a.x.dtype()), stream.device);
  require_tensor(a.median, "magnitudes median", {B}, acc_dtype(a.x.dtype()), stream.device);
  dispatch<cpu::magnitudes, cuda::magnitudes>(
      stream, a,
      {.cpu = scratch_bytes<std::int64_t>(stream.num_threads * cpu::kMedianCounts), .cuda = cuda::magnitudes_bytes(B)});
}

}  // namespace spikesink::kernels
