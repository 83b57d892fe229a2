#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// y_n = weight[tokens_n]. On CUDA nobody looks at the tokens: that each is in [0, V) is the caller's to know.
struct EmbeddingForward {
  Tensor y;       ///< out (N, C)
  Tensor tokens;  ///< i32 (N) or of any shape of N elements, each in [0, V)
  Tensor weight;  ///< (V, C)
};
void embedding_forward(const Stream& stream, const EmbeddingForward& args);

/// dweight[tokens_n] += dy_n, in the order of n for every token, whatever the number of threads. On CUDA N < 2^31, the
/// order is a fixed one of N and the tokens alone, and the tokens are the caller's to know, as above.
struct EmbeddingBackward {
  Tensor dweight;  ///< inout (V, C) acc_dtype, added to
  Tensor dy;       ///< (N, C)
  Tensor tokens;   ///< i32, N elements, each in [0, V)
};
void embedding_backward(const Stream& stream, const EmbeddingBackward& args);

namespace cpu {
void embedding_forward(const Stream& stream, const EmbeddingForward& args);
void embedding_backward(const Stream& stream, const EmbeddingBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {

/// Rows, in the order of their tokens, that a block adds up.
inline constexpr std::int64_t kEmbeddingSlice = 64;

void embedding_forward(const Stream& stream, const EmbeddingForward& args);
void embedding_backward(const Stream& stream, const EmbeddingBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
