#include "kernels/shards/sum_of_parts.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void sum_of_parts(const Stream& stream, const SumOfParts& args) {
  const DType dtype = args.y.dtype(), given = args.parts.dtype();
  const std::int64_t n = args.y.numel(), W = args.parts.shape()[0];
  require(dtype == DType::kF32 || dtype == DType::kF64, "sum_of_parts y: ", name_of(dtype), ", expected f32 or f64");
  require_tensor(args.y, "sum_of_parts y", {n}, dtype, stream.device);
  const bool rounded = dtype == DType::kF32 && given == DType::kBF16;
  require_tensor(args.parts, "sum_of_parts parts", {W, n}, rounded ? given : dtype, stream.device);
  require(W > 0, "sum_of_parts: no part");
  dispatch<cpu::sum_of_parts, cuda::sum_of_parts>(stream, args);
}

}  // namespace spikesink::kernels
