#pragma once
#include <algorithm>
#include <initializer_list>

#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/core/scratch.h"

namespace spikesink::kernels::cpu {

/// Blocks that N rows are cut into: by their number alone, so that threads do not change bits.
inline std::int64_t num_row_sum_blocks(std::int64_t N) { return std::clamp<std::int64_t>(N / 64, 1, 128); }

/// The scratch of add_row_sums() over N rows into sums of `width` elements in all.
inline std::int64_t row_sums_bytes(DType dtype, std::int64_t N, std::int64_t width) {
  return scratch_bytes<std::byte>(num_row_sum_blocks(N) * width * size_of(dtype));
}

/// Gradients of parameters: calls f(n, partial) for rows n in [0, N), which adds what row n gives to `partial`, the
/// elements of all of `sums` one after another (a handle without a tensor has none); then adds these to `sums`, of T.
/// `row_work` is the number of elements that f goes through. Each block of rows has a partial sum of its own in
/// `scratch`.
///
/// Loops over columns belong in functions of their own that take pointers and scalars by value: what a lambda captures
/// by reference is read again in each iteration, three times slower.
template <class T, class F>
void add_row_sums(const Stream& stream, std::int64_t N, std::int64_t row_work, std::initializer_list<Tensor> sums,
                  Scratch scratch, F&& f) {
  const std::int64_t blocks = num_row_sum_blocks(N);
  std::int64_t width = 0;
  for (const Tensor& sum : sums) width += sum ? sum.numel() : 0;
  T* const partials = scratch.take<T>(blocks * width);
  std::fill_n(partials, blocks * width, T(0));
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
