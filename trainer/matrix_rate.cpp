#include "trainer/matrix_rate.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "kernels/core/gpu.h"
#include "kernels/linear/linear.h"

namespace spikesink {
namespace {

struct StatedRate {
  std::string_view name;  // a part of CUDA's name
  double flops;
};
// Dense bf16 rates of the makers' data sheets. PCIe cards before the others of their kind.
constexpr StatedRate kStated[] = {{"H100 PCIe", 756e12}, {"H100 NVL", 835e12}, {"H100", 989e12}, {"H200", 989e12},
                                  {"GH200", 989e12},     {"A100", 312e12},     {"A800", 312e12}, {"B200", 2250e12}};

}  // namespace

double measure_matrix_rate(const Stream& stream, DType dtype) {
  const bool gpu = stream.device == Device::kCuda && !kCudaEmulated;
  const std::int64_t n = gpu ? 8192 : kCudaEmulated ? 128 : dtype == DType::kF64 ? 768 : 1536;
  const Tensor x = stream.empty({n, n}, dtype), weight = stream.empty({n, n}, dtype), y = stream.empty({n, n}, dtype);
  const auto fill = [&]<class T>() {  // zeros could take a short cut
    std::vector<T> values;
    for (std::int64_t i = 0; i < n * n; ++i) values.push_back(static_cast<T>(0.001f * static_cast<float>(i % 97)));
    stream.upload(x, values.data());
    stream.upload(weight, values.data());
  };
  if (dtype == DType::kBF16)
    fill.template operator()<bf16>();
  else
    with_dtype(dtype, fill);
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

double training_peak(const Stream& stream, DType dtype) {
  if constexpr (kHasCuda) {
    if (stream.device == Device::kCuda && dtype == DType::kBF16) {
      const std::string name = gpu::info(stream.native.get()).name;
      for (const auto& [part, flops] : kStated)
        if (name.find(part) != std::string::npos) return flops;
    }
  }
  return measure_matrix_rate(stream, dtype);
}

}  // namespace spikesink
