#pragma once
#include <algorithm>
#include <initializer_list>

#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"

namespace spikesink::kernels::cpu {

/// Gradients of parameters: calls f(n, partial) for rows n in [0, N), which adds what row n gives to `partial`, the
/// elements of all of `sums` one after another (a handle without a tensor has none); then adds these to `sums`, of T.
/// `row_work` is the number of elements that f goes through. Rows are cut into blocks by their number alone, each with
/// a partial sum of its own, so that threads do not change bits.
///
/// Loops over columns belong in functions of their own that take pointers and scalars by value: what a lambda captures
/// by reference is read again in each iteration, three times slower.
template <class T, class F>
void add_row_sums(const Stream& stream, std::int64_t N, std::int64_t row_work, std::initializer_list<Tensor> sums,
                  F&& f) {
  constexpr std::int64_t kBlockRows = 64, kMaxBlocks = 128;
  const std::int64_t blocks = std::clamp<std::int64_t>(N / kBlockRows, 1, kMaxBlocks);
  std::int64_t width = 0;
  for (const Tensor& sum : sums) width += sum ? sum.numel() : 0;
  const Tensor memory = stream.zeros({blocks, width}, dtype_of<T>());
  T* const partials = memory.data<T>();
  const std::int64_t block_work = std::max<std::int64_t>(1, N / blocks * row_work);
  parallel_ranges(stream, blocks, std::max<std::int64_t>(1, kGrain / block_work),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t block = begin; block < end; ++block)
                      for (std::int64_t n = block * N / blocks; n < (block + 1) * N / blocks; ++n)
                        f(n, partials + block * width);
                  });
  std::int64_t column = 0;
  for (const Tensor& sum : sums) {
    if (!sum) continue;
    T* out = sum.data<T>();
    for (std::int64_t block = 0; block < blocks; ++block) {
      const T* partial = partials + block * width + column;
#pragma omp simd
      for (std::int64_t c = 0; c < sum.numel(); ++c) out[c] += partial[c];
    }
    column += sum.numel();
  }
}

}  // namespace spikesink::kernels::cpu
