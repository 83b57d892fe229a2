#include "kernels/metrics/attention_mass.h"

namespace spikesink::kernels {

void attention_mass(const Stream& stream, const AttentionMass& a) {
  require_attention(stream, a.dims, a.qkv, a.lse, a.starts);
  require_tensor(a.alpha, "attention_mass alpha", a.lse.shape(), a.qkv.dtype());
  cpu::attention_mass(stream, a);
}

}  // namespace spikesink::kernels
