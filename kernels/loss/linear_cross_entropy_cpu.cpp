#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/math.h"
#include "kernels/core/parallel.h"
#include "kernels/linear/gemm.h"
#include "kernels/loss/linear_cross_entropy.h"

namespace spikesink::kernels::cpu {
namespace {

/// The loss of a row of logits; with `grad`, the row becomes (softmax - onehot) * grad_scale.
template <class T>
T cross_entropy_row(T* z, std::int64_t V, std::int32_t target, bool grad, T grad_scale) {
  T top = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : top)
  for (std::int64_t v = 0; v < V; ++v) top = std::max(top, z[v]);
  const T correct = z[target];
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t v = 0; v < V; ++v) {
    z[v] = math::exp(z[v] - top);
    sum += z[v];
  }
  if (grad) {
    const T scale = grad_scale / sum;
#pragma omp simd
    for (std::int64_t v = 0; v < V; ++v) z[v] *= scale;
    z[target] -= grad_scale;
  }
  return std::log(sum) + top - correct;
}

/// Writes the rows whose target counts, and returns how many they are.
std::int64_t find_counted(std::int64_t* rows, const Tensor& targets) {
  std::int64_t counted = 0;
  const auto all = targets.span<std::int32_t>();
  for (std::size_t n = 0; n < all.size(); ++n)
    if (all[n] >= 0) rows[counted++] = static_cast<std::int64_t>(n);
  return counted;
}
}  // namespace

void linear_cross_entropy(const Stream& stream, const LinearCrossEntropy& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    const std::int64_t V = a.weight.shape()[0];
    auto* const rows = scratch.take<std::int64_t>(N);
    const std::int64_t counted = find_counted(rows, a.targets);
    const bool all = counted == N, grad = static_cast<bool>(a.dx);
    T* loss = a.loss.data<T>();
    if (!all) {
      std::fill_n(loss, N, T(0));
      if (grad) std::fill_n(a.dx.data<T>(), N * C, T(0));
    }
    if (counted == 0) return;

    const std::int64_t most = cross_entropy_chunk(Device::kCpu, N, V, a.chunk_elements),
                       chunk = std::min(most, counted);
    T* const z = scratch.take<T>(most * V);
    // Where only some rows count, they are gathered, and their dx scattered back.
    T* const packed_x = all ? nullptr : scratch.take<T>(most * C);
    T* const packed_dx = all || !grad ? nullptr : scratch.take<T>(most * C);
    const auto copy_row = [C = C](T* to, const T* from) { std::copy_n(from, C, to); };

    for (std::int64_t first = 0; first < counted; first += chunk) {
      const std::int64_t R = std::min(chunk, counted - first);
      const T* x = all ? a.x.data<T>() + first * C : packed_x;
      if (!all)
        for (std::int64_t r = 0; r < R; ++r) copy_row(packed_x + r * C, a.x.data<T>() + rows[first + r] * C);
      gemm<T>(stream, z, V, {x, C}, {a.weight.data<T>(), C, true}, R, V, C);
      parallel_ranges(stream, R, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          const std::int64_t n = rows[first + r];
          loss[n] = cross_entropy_row(z + r * V, V, a.targets.data<std::int32_t>()[n], grad, T(a.grad_scale));
        }
      });
      if (!grad) continue;
      T* dx = all ? a.dx.data<T>() + first * C : packed_dx;
      gemm<T>(stream, dx, C, {z, V}, {a.weight.data<T>(), C}, R, C, V);
      gemm<T>(stream, a.dweight.data<T>(), C, {z, V, true}, {x, C}, V, C, R, 1, 1);
      if (!all)
        for (std::int64_t r = 0; r < R; ++r) copy_row(a.dx.data<T>() + rows[first + r] * C, dx + r * C);
    }
  });
}

}  // namespace spikesink::kernels::cpu
