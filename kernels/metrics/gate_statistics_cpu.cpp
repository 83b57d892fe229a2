#include <algorithm>

#include "kernels/core/parallel.h"
#include "kernels/metrics/gate_statistics_math.h"

namespace spikesink::kernels::cpu {
namespace {

/// Sums over the columns of a row, of s and of (s - mean)^2.
template <class T>
double row_sum(const T* logits, std::int64_t W) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < W; ++c) sum += static_cast<double>(math::sigmoid(logits[c]));
  return sum;
}
template <class T>
double row_squares(const T* logits, std::int64_t W, double mean) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < W; ++c) {
    const double apart = static_cast<double>(math::sigmoid(logits[c])) - mean;
    sum += apart * apart;
  }
  return sum;
}
}  // namespace

void gate_statistics(const Stream& stream, const GateStatistics& a) {
  with_dtype(a.logits.dtype(), [&]<class T>() {
    const std::int64_t G = matrix_dims(a.logits).cols, H = matrix_dims(a.mean).cols, W = G / H, time = a.length;
    parallel_tasks(stream, a.mean.numel(), [&](std::int64_t task) {
      const T* const logits = a.logits.data<T>() + task / H * time * G + task % H * W;
      std::int32_t counts[kGateBins + 1] = {};  // the last of NaN
      double sum = 0, squares = 0;
      for (std::int64_t t = 0; t < time; ++t) {
        sum += row_sum(logits + t * G, W);
        for (std::int64_t c = 0; c < W; ++c) ++counts[math::gate_bin(math::sigmoid(logits[t * G + c]))];
      }
      const auto n = static_cast<double>(time * W);
      for (std::int64_t t = 0; t < time; ++t) squares += row_squares(logits + t * G, W, sum / n);
      a.mean.data<T>()[task] = static_cast<T>(sum / n);
      a.variance.data<T>()[task] = static_cast<T>(squares / n);
      a.first.data<T>()[task] = static_cast<T>(row_sum(logits, W) / static_cast<double>(W));
      std::copy_n(counts, kGateBins, a.counts.data<std::int32_t>() + task * kGateBins);
    });
  });
}

}  // namespace spikesink::kernels::cpu
