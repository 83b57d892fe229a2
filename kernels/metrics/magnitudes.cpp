#include "kernels/metrics/magnitudes.h"

namespace spikesink::kernels {

void magnitudes(const Stream& stream, const Magnitudes& a) {
  const auto [N, C] = matrix_dims(a.x);
  require_tensor(a.x, "magnitudes x", {N, C}, a.x.dtype());
  require(a.length > 0 && N % a.length == 0, "magnitudes: ", N, " rows are not whole sequences of ", a.length);
  const std::int64_t B = N / a.length;
  require_tensor(a.channel_max, "magnitudes channel_max", {B, C}, a.x.dtype());
  require_tensor(a.token_max, "magnitudes token_max", {B, a.length}, a.x.dtype());
  require_tensor(a.median, "magnitudes median", {B}, a.x.dtype());
  cpu::magnitudes(stream, a);
}

}  // namespace spikesink::kernels
