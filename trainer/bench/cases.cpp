#include "trainer/bench/cases.h"

#include <set>

#include "kernels/core/gpu.h"
#include "kernels/core/random.h"
#include "kernels/init/initialise.h"

namespace spikesink::bench {
namespace {
// The shapes that published figures are for, in bf16 at least twice an H100's L2 cache.
constexpr Sizes kFullSizes{.N = 16384,
                           .C = 4096,
                           .ffn_N = 8192,
                           .F = 16384,
                           .qk_N = 8192,
                           .head_N = 8192,
                           .V = 131072,
                           .B = 4,
                           .T = 4096,
                           .parameters = 1'000'000'000,
                           .copy_bytes = std::int64_t{2} << 30};
constexpr Sizes kCpuSizes{.N = 16384,
                          .C = 1024,
                          .ffn_N = 8192,
                          .F = 2048,
                          .qk_N = 8192,
                          .head_N = 1024,
                          .V = 16384,
                          .B = 2,
                          .T = 1024,
                          .parameters = 30'000'000,
                          .copy_bytes = 256 << 20};
constexpr Sizes kTinySizes{.N = 4,
                           .C = 256,
                           .ffn_N = 4,
                           .F = 64,
                           .qk_N = 4,
                           .head_N = 4,
                           .V = 40,
                           .B = 1,
                           .T = 64,
                           .parameters = 1000,
                           .copy_bytes = 1 << 16};

}  // namespace

Sizes sizes_for(const Stream& stream, BenchSizes choice) {
  if (choice == BenchSizes::kAuto)
    choice = stream.device == Device::kCpu ? BenchSizes::kCpu : kCudaEmulated ? BenchSizes::kTiny : BenchSizes::kFull;
  return choice == BenchSizes::kFull ? kFullSizes : choice == BenchSizes::kCpu ? kCpuSizes : kTinySizes;
}

Tensor Bench::normal(Shape shape, double mean, double std) {
  const Tensor t = stream.empty(shape, dtype);
  kernels::initialise(stream, {.out = t, .mean = mean, .std = std, .seed = 1, .stream = ++tensors_});
  return t;
}

Tensor Bench::ids(std::int64_t n, std::int64_t below, std::int64_t* distinct) const {
  std::vector<std::int32_t> values;
  const Random random{.seed = 1, .stream = name_hash("bench ids")};
  for (std::int64_t i = 0; i < n; ++i)
    values.push_back(
        static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(below))));
  if (distinct) *distinct = static_cast<std::int64_t>(std::set<std::int32_t>(values.begin(), values.end()).size());
  return upload(values);
}

Tensor Bench::upload(const std::vector<std::int32_t>& values) const {
  const Tensor t = stream.empty({static_cast<std::int64_t>(values.size())}, DType::kI32);
  stream.upload(t, values.data());
  return t;
}

std::int64_t Bench::num_parameters(std::int64_t bytes) const {
  if constexpr (kHasCuda) {
    if (stream.device == Device::kCuda) return std::min(sizes.parameters, gpu::info().free_bytes / 5 * 4 / bytes);
  }
  return sizes.parameters;
}

}  // namespace spikesink::bench
