#include "kernels/embed/embedding.h"

#include "kernels/core/dispatch.h"
#include "kernels/embed/token_sort.h"

namespace spikesink::kernels {
namespace {
/// `table` (V, C) of `table_dtype`, `rows` (N, C), N tokens, within the vocabulary where the host can look.
void require_embedding(const Stream& stream, const Tensor& table, DType table_dtype, const Tensor& rows,
                       const Tensor& tokens) {
  const auto [V, C] = matrix_dims(table);
  require_tensor(table, "embedding weight", {V, C}, table_dtype, stream.device);
  require_tensor(rows, "embedding rows", {tokens.numel(), C}, rows.dtype(), stream.device);
  require_tensor(tokens, "embedding tokens", tokens.shape(), DType::kI32, stream.device);
  if (stream.device != Device::kCpu || stream.dry) return;
  for (const std::int32_t token : tokens.span<std::int32_t>())
    require(token >= 0 && token < V, "embedding token ", token, " of ", V);
}
}  // namespace

void embedding_forward(const Stream& stream, const EmbeddingForward& a) {
  require_embedding(stream, a.weight, a.y.dtype(), a.y, a.tokens);
  dispatch<cpu::embedding_forward, cuda::embedding_forward>(stream, a);
}

void embedding_backward(const Stream& stream, const EmbeddingBackward& a) {
  require_embedding(stream, a.dweight, acc_dtype(a.dy.dtype()), a.dy, a.tokens);
  const auto [V, C] = matrix_dims(a.dweight);
  const std::int64_t N = a.tokens.numel(), slices = (N + cuda::kEmbeddingSlice - 1) / cuda::kEmbeddingSlice;
  dispatch<cpu::embedding_backward, cuda::embedding_backward>(
      stream, a, {.cuda = cuda::sort_tokens_bytes(N, V) + scratch_bytes<float>(2 * slices * C)});
}

}  // namespace spikesink::kernels
