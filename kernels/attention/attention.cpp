#include "kernels/attention/attention.h"

#include "kernels/attention/attention_cudnn.h"
#include "kernels/attention/query_block.h"
#include "kernels/core/dispatch.h"

namespace spikesink::kernels {
namespace {

/// Products of q and k that causality leaves, in units of two FLOPs a channel.
double score_flops(const AttentionDims& d, std::int64_t N) {
  return static_cast<double>(N) * static_cast<double>(d.length + 1) * static_cast<double>(d.out_width());
}
}  // namespace

void require_attention(const Stream& stream, const AttentionDims& d, const Tensor& qkv, const Tensor& lse,
                       const Tensor& starts) {
  require(d.n_heads > 0 && d.n_kv_heads > 0 && d.n_heads % d.n_kv_heads == 0, "attention heads: ", d.n_heads, " over ",
          d.n_kv_heads, " key-value heads");
  require(d.d_head > 0 && d.length > 0 && d.scale > 0, "attention: d_head ", d.d_head, ", length ", d.length,
          ", scale ", d.scale);
  require(stream.device == Device::kCpu || (d.d_head % 2 == 0 && d.d_head <= kMaxCudaHead),
          "attention on cuda: d_head ", d.d_head, ", expected an even one up to ", kMaxCudaHead);
  const std::int64_t N = matrix_dims(qkv).rows;
  require(N % d.length == 0, "attention qkv: ", N, " rows are not whole sequences of ", d.length);
  require_tensor(qkv, "attention qkv", {N, d.qkv_width()}, qkv.dtype(), stream.device);
  require_tensor(lse, "attention lse", {N / d.length, d.n_heads, d.length}, acc_dtype(qkv.dtype()), stream.device);
  if (!starts) return;
  require_tensor(starts, "attention starts", {N}, DType::kI32, stream.device);
  if (stream.device != Device::kCpu || stream.dry) return;
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int64_t start = starts.data<std::int32_t>()[n];
    require(start >= 0 && start <= n % d.length, "attention starts: ", start, " at position ", n % d.length, " of row ",
            n);
  }
}

AttentionPlan attention_plan(const Stream& stream, const AttentionDims& dims, std::int64_t sequences, DType dtype,
                             bool with_starts) {
  if (stream.device == Device::kCpu) return {.cudnn_forward = false, .cudnn_backward = false, .text = "hand-written"};
  const bool forward = cuda::cudnn_is_faster(dims, /*backward=*/false, stream.deterministic),
             backward = cuda::cudnn_is_faster(dims, /*backward=*/true, stream.deterministic);
  const std::string faster = "faster at d_head " + std::to_string(dims.d_head);
  std::string why = cuda::cudnn_refusal(dims, dtype, with_starts, stream.deterministic);
  if (why.empty() && !forward && !backward) why = faster;
  if constexpr (kHasCuda)
    if (why.empty()) why = cuda::cudnn_refusal(stream, dims, sequences, dtype, with_starts);
  const std::string cudnn = kCudaEmulated ? "a plain stand-in for cuDNN" : "cuDNN";
  if (why.empty())
    return {.cudnn_forward = forward,
            .cudnn_backward = backward,
            .text = !forward    ? cudnn + " backward, hand-written forward (" + faster + ")"
                    : !backward ? cudnn + " forward, hand-written backward (" + faster + ")"
                                : cudnn};
  const std::string kernel = dtype == DType::kBF16 ? "hand-written tensor-core kernel" : "hand-written f32 kernel";
  return {.cudnn_forward = false, .cudnn_backward = false, .text = kernel + " (not cuDNN: " + why + ")"};
}

AttentionPlan attention_plan(const Stream& stream, const AttentionDims& dims, const Tensor& qkv, const Tensor& starts) {
  return attention_plan(stream, dims, qkv.shape()[0] / dims.length, qkv.dtype(), static_cast<bool>(starts));
}

void attention_forward(const Stream& stream, const AttentionForward& a) {
  require_attention(stream, a.dims, a.qkv, a.lse, a.starts);
  require_tensor(a.out, "attention out", {a.qkv.shape()[0], a.dims.out_width()}, a.qkv.dtype(), stream.device);
  stream.count_flops(2 * score_flops(a.dims, a.qkv.shape()[0]));
  const bool cudnn = attention_plan(stream, a.dims, a.qkv, a.starts).cudnn_forward;
  dispatch<cpu::attention_forward, cuda::attention_forward>(
      stream, a,
      {.cpu = stream.num_threads * cpu::forward_scratch(a.dims, a.qkv.dtype()),
       .cuda = cudnn ? cuda::cudnn_attention_bytes(a.dims, a.qkv.shape()[0], /*backward=*/false, stream.deterministic)
                     : 0});
}

void attention_backward(const Stream& stream, const AttentionBackward& a) {
  require_attention(stream, a.dims, a.qkv, a.lse, a.starts);
  const std::int64_t N = a.qkv.shape()[0];
  require_tensor(a.out, "attention out", {N, a.dims.out_width()}, a.qkv.dtype(), stream.device);
  require_tensor(a.dout, "attention dout", {N, a.dims.out_width()}, a.qkv.dtype(), stream.device);
  require_tensor(a.dqkv, "attention dqkv", {N, a.dims.qkv_width()}, a.qkv.dtype(), stream.device);
  stream.count_flops(4 * score_flops(a.dims, N));
  const bool cudnn = attention_plan(stream, a.dims, a.qkv, a.starts).cudnn_backward;
  dispatch<cpu::attention_backward, cuda::attention_backward>(
      stream, a,
      {.cpu = stream.num_threads * cpu::backward_scratch(a.dims, a.qkv.dtype()),
       .cuda = cudnn ? cuda::cudnn_attention_bytes(a.dims, N, /*backward=*/true, stream.deterministic)
                     : cuda::flash_backward_bytes(a.dims, N, static_cast<bool>(a.starts))});
}

}  // namespace spikesink::kernels
