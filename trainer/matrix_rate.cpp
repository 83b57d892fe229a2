#include "trainer/matrix_rate.h"

#include <algorithm>
#include <chrono>

#include "kernels/linear/linear.h"

namespace spikesink {

double measure_matrix_rate(const Stream& stream, DType dtype) {
  const std::int64_t n = dtype == DType::kF64 ? 768 : 1536;
  const Tensor x = stream.zeros({n, n}, dtype), weight = stream.zeros({n, n}, dtype), y = stream.empty({n, n}, dtype);
  with_dtype(dtype, [&]<class T>() {  // zeros could take a short cut
    for (std::int64_t i = 0; i < n * n; ++i) x.data<T>()[i] = weight.data<T>()[i] = T(0.001) * T(i % 97);
  });
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    kernels::linear_forward(stream, {.y = y, .x = x, .weight = weight});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * static_cast<double>(n * n * n) / seconds);
  }
  return best;
}

}  // namespace spikesink
