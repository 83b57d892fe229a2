#include "kernels/core/row_sums.h"
#include "kernels/elementwise/bias.h"

namespace spikesink::kernels::cpu {
namespace {

template <class T>
void add_row(T* y, const T* x, const T* b, std::int64_t C) {
#pragma omp simd
  for (std::int64_t c = 0; c < C; ++c) y[c] = x[c] + b[c];
}
}  // namespace

void bias_forward(const Stream& stream, const BiasForward& a) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.x);
    parallel_ranges(stream, N, row_grain(C), [&, C = C](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n)
        add_row(a.y.data<T>() + n * C, a.x.data<T>() + n * C, a.b.data<T>(), C);
    });
  });
}

void bias_backward(const Stream& stream, const BiasBackward& a, Scratch scratch) {
  with_dtype(a.dy.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.dy);
    add_row_sums<T>(stream, N, C, {a.db}, scratch,
                    [&, C = C](std::int64_t n, T* db) { add_row(db, db, a.dy.data<T>() + n * C, C); });
  });
}

}  // namespace spikesink::kernels::cpu
