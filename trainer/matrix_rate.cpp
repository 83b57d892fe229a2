#include "trainer/matrix_rate.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/core/gpu.h"
#include "kernels/linear/linear.h"
#include "trainer/gpus.h"

namespace spikesink {

double measure_matrix_rate(const Stream& stream, DType dtype) {
  const bool gpu = stream.device == Device::kCuda && !kCudaEmulated;
  const std::int64_t n = gpu ? 8192 : kCudaEmulated ? 128 : dtype == DType::kF64 ? 768 : 1536;
  const Tensor x = stream.empty({n, n}, dtype), weight = stream.empty({n, n}, dtype), y = stream.empty({n, n}, dtype);
  if (!stream.dry)
    with_stored_dtype(dtype, [&]<class T>() {  // zeros could take a short cut
      std::vector<T> values;
      for (std::int64_t i = 0; i < n * n; ++i) values.push_back(static_cast<T>(0.001f * static_cast<float>(i % 97)));
      stream.upload(x, values.data());
      stream.upload(weight, values.data());
    });
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    kernels::linear_forward(stream, {.y = y, .x = x, .weight = weight});
    stream.synchronize();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * static_cast<double>(n * n * n) / seconds);
  }
  return best;
}

std::optional<double> stated_rate(DType dtype, std::string_view gpu_name) {
  const auto known = known_gpu(gpu_name);
  return known && dtype == DType::kBF16 ? std::optional(known->bf16_flops) : std::nullopt;
}

double training_peak(const Stream& stream, DType dtype) {
  if constexpr (kHasCuda) {
    if (stream.device == Device::kCuda)
      if (const auto stated = stated_rate(dtype, gpu::info().name)) return *stated;
  }
  return measure_matrix_rate(stream, dtype);
}

}  // namespace spikesink
