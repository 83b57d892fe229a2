#include <algorithm>

#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/embed/embedding.h"

namespace spikesink::kernels::cpu {

void embedding_forward(const Stream& stream, const EmbeddingForward& a) {
  with_dtype(a.y.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.y);
    const std::int32_t* tokens = a.tokens.data<std::int32_t>();
    parallel_ranges(stream, N, row_grain(C), [&, C = C](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n)
        std::copy_n(a.weight.data<T>() + tokens[n] * C, C, a.y.data<T>() + n * C);
    });
  });
}

void embedding_backward(const Stream& stream, const EmbeddingBackward& a, Scratch) {
  with_dtype(a.dy.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.dy);
    const std::int32_t* tokens = a.tokens.data<std::int32_t>();
    // An owner looks through all tokens and adds up those that are its own: no two write the same row. Frequent tokens
    // have neighbouring ids, so they are dealt out one by one.
    const std::int64_t owners = stream.num_threads;
    parallel_ranges(stream, owners, 1, [&, N = N, C = C](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = 0; n < N; ++n) {
        const std::int64_t owner = tokens[n] % owners;
        if (owner < begin || owner >= end) continue;
        T* sum = a.dweight.data<T>() + tokens[n] * C;
        const T* dy = a.dy.data<T>() + n * C;
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c) sum[c] += dy[c];
      }
    });
  });
}

}  // namespace spikesink::kernels::cpu
