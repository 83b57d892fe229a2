#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/stream.h"

namespace spikesink {

/// How large the timed tensors are: kFull overflows the caches of a large GPU, kCpu those of a CPU; kTiny shows only
/// that everything runs, as under emulation.
enum class BenchSizes { kAuto, kFull, kCpu, kTiny };
constexpr std::array<std::string_view, 4> names_of(BenchSizes) { return {"auto", "full", "cpu", "tiny"}; }

/// What kernels are held against, as measured in the same run.
struct MachineRates {
  std::string device;  ///< the GPU's name, or "cpu"
  std::string cudnn =
      {};                ///< the GPU's properties as cuDNN has them, to build its plans elsewhere; empty without cuDNN
  double copy_rate = 0;  ///< of a large copy from memory to memory, bytes read and written a second
  double matrix_rate = 0;  ///< of a large product, FLOP/s
};

/// One direction of one kernel at one shape. It is bound by either memory or products: one of bytes and flops is 0.
struct KernelFigure {
  std::string kernel;  ///< its header's name
  std::string what;    ///< "forward", "backward", or more where there are several ways
  std::string shape;   ///< "16384 x 4096"
  double seconds = 0;  ///< median over runs, of one call
  double seconds_min = 0, seconds_max = 0;
  double bytes = 0;  ///< inputs read once and outputs written once
  double flops = 0;  ///< of products; attention is causal, and its backward counts 2.5 times the forward
  double rate() const { return (bytes > 0 ? bytes : flops) / seconds; }
  /// The share of the machine's rate that is reached.
  double share(const MachineRates& rates) const { return rate() / (bytes > 0 ? rates.copy_rate : rates.matrix_rate); }
};

struct KernelBenchOptions {
  DType dtype = DType::kF32;
  BenchSizes sizes = BenchSizes::kAuto;
  std::vector<std::string> only = {};  ///< kernels whose name has one of these; empty: all
  std::int64_t runs = 7;
};

/// Names of the kernels that are timed.
std::vector<std::string> timed_kernels();

/// Times every kernel both ways: after warm-up, on a GPU by the clock of its events, over as many calls in a row as
/// take 2 ms. First `on_rates`, then `on_figure` as soon as each is there.
void bench_kernels(const Stream& stream, const KernelBenchOptions& options,
                   const std::function<void(const MachineRates&)>& on_rates,
                   const std::function<void(const KernelFigure&)>& on_figure);

}  // namespace spikesink
