#include "kernels/elementwise/round.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void round(const Stream& stream, const Round& args) {
  require_tensor(args.x, "round x", args.x.shape(), DType::kF32, stream.device);
  require_tensor(args.y, "round y", args.x.shape(), DType::kBF16, stream.device);
  dispatch<cpu::round, cuda::round>(stream, args);
}

}  // namespace spikesink::kernels
