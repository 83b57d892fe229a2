#include "trainer/kernel_bench.h"

#include <algorithm>
#include <cstring>

#include "kernels/attention/attention_cudnn.h"
#include "kernels/core/gpu.h"
#include "kernels/core/parallel.h"
#include "trainer/bench/cases.h"
#include "trainer/bench/clock.h"
#include "trainer/matrix_rate.h"

namespace spikesink {
namespace {

using bench::Bench;

struct Family {
  std::string_view name;
  void (*time)(Bench&);
};
constexpr Family kFamilies[] = {{"rms_norm", bench::time_rms_norm},
                                {"layer_norm", bench::time_layer_norm},
                                {"dynamic_tanh", bench::time_dynamic_tanh},
                                {"rope", bench::time_rope},
                                {"qk_norm_rope", bench::time_qk_norm_rope},
                                {"silu_mul", bench::time_silu_mul},
                                {"gelu", bench::time_gelu},
                                {"gate", bench::time_gate},
                                {"add", bench::time_add},
                                {"round", bench::time_round},
                                {"bias", bench::time_bias},
                                {"scale", bench::time_scale},
                                {"embedding", bench::time_embedding},
                                {"linear", bench::time_linear},
                                {"attention", bench::time_attention},
                                {"linear_cross_entropy", bench::time_linear_cross_entropy},
                                {"adamw", bench::time_adamw},
                                {"sum_of_squares", bench::time_sum_of_squares},
                                {"sum_of_parts", bench::time_sum_of_parts},
                                {"magnitudes", bench::time_magnitudes},
                                {"gate_statistics", bench::time_gate_statistics},
                                {"attention_mass", bench::time_attention_mass},
                                {"loss_sum", bench::time_loss_sum},
                                {"initialise", bench::time_initialise}};

MachineRates measure_rates(const Stream& stream, const KernelBenchOptions& options) {
  MachineRates rates{.device = "cpu"};
  if constexpr (kHasCuda)
    if (stream.device == Device::kCuda) {
      rates.device = gpu::info().name;
      try {
        rates.cudnn = kernels::cuda::cudnn_device_properties(stream);
      } catch (const CudaError&) {  // attention_plan() says which
      }
    }
  const std::int64_t bytes = bench::sizes_for(stream, options.sizes).copy_bytes;
  const Tensor to = stream.zeros({bytes}, DType::kU8), from = stream.zeros({bytes}, DType::kU8);
  const auto copy = [&] {
    if (stream.device == Device::kCuda) return stream.copy(to, from);
    // In pieces, since memcpy writes large ones past the cache, which some CPUs do at half the speed.
    constexpr std::int64_t kPiece = 1 << 16;
    kernels::cpu::parallel_ranges(stream, bytes / kPiece, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) std::memcpy(to.raw() + i * kPiece, from.raw() + i * kPiece, kPiece);
    });
  };
  copy();
  std::vector<double> seconds;
  for (std::int64_t run = 0; run < options.runs; ++run) seconds.push_back(device_seconds(stream, copy));
  rates.copy_rate = 2 * static_cast<double>(bytes) / median(seconds);
  rates.matrix_rate = measure_matrix_rate(stream, options.dtype);
  return rates;
}

}  // namespace

std::vector<std::string> timed_kernels() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.name);
  return names;
}

void bench_kernels(const Stream& stream, const KernelBenchOptions& options,
                   const std::function<void(const MachineRates&)>& on_rates,
                   const std::function<void(const KernelFigure&)>& on_figure) {
  const auto wanted = [&](std::string_view name) {
    return options.only.empty() || std::ranges::any_of(options.only, [&](const std::string& part) {
             return name.find(part) != std::string_view::npos;
           });
  };
  on_rates(measure_rates(stream, options));
  Bench timer(stream, options, on_figure);
  for (const Family& family : kFamilies) {
    if (!wanted(family.name)) continue;
    stream.synchronize();
    stream.pool->release_cached();  // what the last one took would be in the way of the next one's sizes
    timer.begin(family.name);
    family.time(timer);
  }
}

}  // namespace spikesink
