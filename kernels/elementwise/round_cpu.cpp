#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/elementwise/round.h"

namespace spikesink::kernels::cpu {

void round(const Stream& stream, const Round& args) {
  bf16* const y = args.y.data<bf16>();
  const float* const x = args.x.data<float>();
  parallel_ranges(stream, args.x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y[i] = bf16(x[i]);
  });
}

}  // namespace spikesink::kernels::cpu
