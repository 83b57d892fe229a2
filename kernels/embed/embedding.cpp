#include "kernels/embed/embedding.h"

namespace spikesink::kernels {
namespace {
/// `table` (V, C), `rows` (N, C), N tokens within the vocabulary.
void require_embedding(const Tensor& table, const Tensor& rows, const Tensor& tokens) {
  const auto [V, C] = matrix_dims(table);
  require_tensor(table, "embedding weight", {V, C}, table.dtype());
  require_tensor(rows, "embedding rows", {tokens.numel(), C}, table.dtype());
  require_tensor(tokens, "embedding tokens", tokens.shape(), DType::kI32);
  for (const std::int32_t token : tokens.span<std::int32_t>())
    require(token >= 0 && token < V, "embedding token ", token, " of ", V);
}
}  // namespace

void embedding_forward(const Stream& stream, const EmbeddingForward& a) {
  require_embedding(a.weight, a.y, a.tokens);
  cpu::embedding_forward(stream, a);
}

void embedding_backward(const Stream& stream, const EmbeddingBackward& a) {
  require_embedding(a.dweight, a.dy, a.tokens);
  cpu::embedding_backward(stream, a);
}

}  // namespace spikesink::kernels
