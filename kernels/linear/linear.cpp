#include "kernels/linear/linear.h"

#include "kernels/core/dispatch.h"
#include "kernels/linear/gemm_cuda.h"

namespace spikesink::kernels {
namespace {
constexpr ScratchBytes kScratch{.cuda = scratch_bytes<std::byte>(cuda::kGemmWorkspaceBytes)};

double product_flops(std::int64_t N, std::int64_t O, std::int64_t C) {
  return 2.0 * static_cast<double>(N) * static_cast<double>(O) * static_cast<double>(C);
}
}  // namespace

void linear_forward(const Stream& stream, const LinearForward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t O = a.weight.shape()[0];
  require_tensor(a.x, "linear x", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.weight, "linear weight", {O, C}, a.x.dtype(), stream.device);
  require_tensor(a.y, "linear y", {N, O}, a.x.dtype(), stream.device);
  stream.count_flops(product_flops(N, O, C));
  dispatch<cpu::linear_forward, cuda::linear_forward>(stream, a, kScratch);
}

void linear_backward(const Stream& stream, const LinearBackward& a) {
  const auto [N, C] = matrix_dims(a.x);
  const std::int64_t O = a.weight.shape()[0];
  require_tensor(a.x, "linear x", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.weight, "linear weight", {O, C}, a.x.dtype(), stream.device);
  require_tensor(a.dy, "linear dy", {N, O}, a.x.dtype(), stream.device);
  require_tensor(a.dx, "linear dx", {N, C}, a.x.dtype(), stream.device);
  require_tensor(a.dweight, "linear dweight", {O, C}, acc_dtype(a.x.dtype()), stream.device);
  stream.count_flops(2 * product_flops(N, O, C));
  dispatch<cpu::linear_backward, cuda::linear_backward>(stream, a, kScratch);
}

}  // namespace spikesink::kernels
