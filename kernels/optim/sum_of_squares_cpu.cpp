#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/optim/sum_of_squares.h"

namespace spikesink::kernels::cpu {
namespace {

template <class T>
double sum(const T* x, std::int64_t n) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (std::int64_t i = 0; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}
}  // namespace

void sum_of_squares(const Stream& stream, const SumOfSquares& a, Scratch scratch) {
  struct Block {
    const Tensor* tensor;
    std::int64_t begin, size;
  };
  std::vector<Block> blocks;
  for (const Tensor& t : a.tensors)
    for (std::int64_t begin = 0; begin < t.numel(); begin += kSquaresBlock)
      blocks.push_back({&t, begin, std::min(kSquaresBlock, t.numel() - begin)});
  const auto n = static_cast<std::int64_t>(blocks.size());
  double* const sums = scratch.take<double>(n);
  parallel_ranges(stream, n, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      with_dtype(blocks[i].tensor->dtype(),
                 [&, b = blocks[i]]<class T>() { sums[i] = sum(b.tensor->template data<T>() + b.begin, b.size); });
  });
  a.total.data<double>()[0] = std::accumulate(sums, sums + n, 0.0);
}

}  // namespace spikesink::kernels::cpu
