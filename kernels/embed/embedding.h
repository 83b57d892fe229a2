#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y_n = weight[tokens_n].
struct EmbeddingForward {
  Tensor y;       ///< out (N, C)
  Tensor tokens;  ///< i32 (N) or of any shape of N elements, each in [0, V)
  Tensor weight;  ///< (V, C)
};
void embedding_forward(const Stream& stream, const EmbeddingForward& args);

/// dweight[tokens_n] += dy_n, in the order of n for every token, whatever the number of threads.
struct EmbeddingBackward {
  Tensor dweight;  ///< inout (V, C), added to
  Tensor dy;       ///< (N, C)
  Tensor tokens;   ///< i32, N elements, each in [0, V)
};
void embedding_backward(const Stream& stream, const EmbeddingBackward& args);

namespace cpu {
void embedding_forward(const Stream& stream, const EmbeddingForward& args);
void embedding_backward(const Stream& stream, const EmbeddingBackward& args);
}  // namespace cpu
}  // namespace spikesink::kernels
