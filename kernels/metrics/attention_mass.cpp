#include "kernels/metrics/attention_mass.h"

#include <algorithm>

#include "kernels/attention/query_block.h"
#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void attention_mass(const Stream& stream, const AttentionMass& a) {
  require_attention(stream, a.dims, a.qkv, a.lse, a.starts);
  require_tensor(a.alpha, "attention_mass alpha", a.lse.shape(), acc_dtype(a.qkv.dtype()), stream.device);
  const std::int64_t scores = std::min(cpu::kQueries, a.dims.length) * a.dims.length;  // of a thread
  dispatch<cpu::attention_mass, cuda::attention_mass>(
      stream, a, {.cpu = scratch_bytes<std::byte>(stream.num_threads * scores * size_of(a.qkv.dtype()))});
}

}  // namespace spikesink::kernels
