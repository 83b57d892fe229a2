#include "kernels/loss/linear_cross_entropy.h"

#include <algorithm>

#include "kernels/core/dispatch.h"
#include "kernels/linear/gemm_cuda.h"

namespace spikesink::kernels {
namespace {
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// For the worst case, in which some rows do not count and nearly all do: how many it is shows in the targets' values
/// only.
ScratchBytes scratch_of(const LinearCrossEntropy& a) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t V = a.weight.shape()[0], size = size_of(a.x.dtype());
  const std::int64_t on_cpu = cross_entropy_chunk(Device::kCpu, N, V, a.chunk_elements);
  const std::int64_t on_cuda = cross_entropy_chunk(Device::kCuda, N, V, a.chunk_elements);
  const std::int64_t packed = scratch_bytes<std::byte>(on_cpu * C * size);
  return {.cpu = scratch_bytes<std::byte>(on_cpu * V * size) + (a.dx ? 2 : 1) * packed + scratch_bytes<std::int64_t>(N),
          .cuda = scratch_bytes<std::byte>(on_cuda * cuda::logits_stride(V) * size) +
                  scratch_bytes<std::byte>(cuda::kGemmWorkspaceBytes)};
}
}  // namespace

std::int64_t cross_entropy_chunk(Device device, std::int64_t N, std::int64_t V, std::int64_t chunk_elements) {
  const auto at_most = [N](std::int64_t rows) {
    return std::clamp<std::int64_t>(rows, 1, std::max<std::int64_t>(N, 1));
  };
  if (chunk_elements > 0) return at_most(chunk_elements / V);
  if (device == Device::kCpu) return at_most((std::int64_t{8} << 20) / V);
  // On a GPU each chunk reads and writes the f32 gradient of the weight once: with 4096 rows that is small beside its
  // products, and these have tiles for all multiprocessors. 2^29 logits are 1 GiB in bf16. Chunks of like size, of
  // whole tiles of 128 rows.
  constexpr std::int64_t kRows = 4096, kElements = std::int64_t{1} << 29, kTile = 128;
  const std::int64_t most = std::clamp(kElements / V / kTile * kTile, kTile, kRows);
  const std::int64_t chunks = std::max<std::int64_t>(1, ceil_div(N, most));
  return at_most(ceil_div(ceil_div(N, chunks), kTile) * kTile);
}

void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& a) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t V = a.weight.shape()[0];
  const DType dtype = a.x.dtype();
  require_tensor(a.x, "linear_cross_entropy x", {N, C}, dtype, stream.device);
  require_tensor(a.weight, "linear_cross_entropy weight", {V, C}, dtype, stream.device);
  require_tensor(a.targets, "linear_cross_entropy targets", {N}, DType::kI32, stream.device);
  require_tensor(a.loss, "linear_cross_entropy loss", {N}, acc_dtype(dtype), stream.device);
  require(static_cast<bool>(a.dx) == static_cast<bool>(a.dweight), "linear_cross_entropy: dx and dweight go together");
  if (a.dx) {
    require_tensor(a.dx, "linear_cross_entropy dx", {N, C}, dtype, stream.device);
    require_tensor(a.dweight, "linear_cross_entropy dweight", {V, C}, acc_dtype(dtype), stream.device);
  }
  require(V > 0, "linear_cross_entropy: no vocabulary");
  require(a.chunk_elements >= 0, "linear_cross_entropy chunk_elements: ", a.chunk_elements);
  if (stream.device == Device::kCpu && !stream.dry)
    for (const std::int32_t target : a.targets.span<std::int32_t>())
      require(target >= -1 && target < V, "linear_cross_entropy target ", target, " of ", V);
  const double product = 2.0 * static_cast<double>(N) * static_cast<double>(V) * static_cast<double>(C);
  stream.count_flops((a.dx ? 3 : 1) * product);
  dispatch<cpu::linear_cross_entropy, cuda::linear_cross_entropy>(stream, a, scratch_of(a));
}

}  // namespace spikesink::kernels
