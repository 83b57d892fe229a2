#include "trainer/about_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/build_info.h"
#include "io/readable.h"
#include "kernels/attention/attention_cudnn.h"
#include "kernels/core/gpu.h"
#include "models/layers/attention.h"
#include "trainer/matrix_rate.h"

namespace spikesink {
namespace {

std::string device_of(const TrainJob& job, double peak) {
  constexpr const char* kMeasured = "a large product's rate, measured now; steps can pass it";
  const DType dtype = job.precision;
  if (job.stream.device == Device::kCpu)
    return fmt::format("on the CPU in {}, {}{}; MFU is a share of {:.0f} GFLOP/s, {}", name_of(dtype),
                       counted(job.stream.num_threads, "thread"), job.communicator.world() > 1 ? " a rank" : "",
                       peak / 1e9, kMeasured);
  const std::int64_t context = job.model.config().context;
  std::string device = "cuda",
              attention = kernels::attention_plan(job.stream, attention_dims(job.model.config().attention, context),
                                                  std::min(job.train.micro_batch, job.train.sequences(context)), dtype,
                                                  job.end_of_text.has_value())
                              .text;
  bool stated = false;
  if constexpr (kHasCuda) {
    const gpu::Info gpu = gpu::info();
    device = fmt::format("{} ({:.1f} GiB)", gpu.name, static_cast<double>(gpu.total_bytes) / (1 << 30));
    stated = stated_rate(dtype, gpu.name).has_value();
    if (const auto builds = kernels::cuda::cudnn_builds(job.stream); builds.count > 0)
      attention += fmt::format(", {} of its plans built in {:.1f} s", builds.count, builds.seconds);
  }
  return fmt::format("on {} in {}; attention: {}; {}", device, name_of(dtype), attention,
                     kCudaEmulated ? "rates and MFU say nothing: all of it is emulated on the host"
                     : stated
                         ? fmt::format("MFU is a share of {:.0f} TFLOP/s, the rate that its maker states", peak / 1e12)
                         : fmt::format("MFU is a share of {:.1f} TFLOP/s, {}", peak / 1e12, kMeasured));
}

}  // namespace

std::vector<std::string> about_run(const TrainJob& job, const ModelCost& cost, const StepShare& share, double peak) {
  const std::int64_t context = job.model.config().context, steps = job.train.total_steps(context);
  const int world = job.communicator.world();
  const auto& [total, first, count, passes] = share;
  std::vector<std::string> lines{"built: " + build_info(),
                                 fmt::format("model: {} parameters, {:.3g} FLOPs a token",
                                             count_text(static_cast<double>(cost.parameters())), cost.flops()),
                                 "runs:  " + device_of(job, peak)};
  if (world > 1) {
    lines.push_back(fmt::format("ranks: {}, with {} of a step each, in {}; system.shard: {}{}", world,
                                total % world == 0
                                    ? counted(count, "sequence")
                                    : fmt::format("{} or {}", total / world, counted(total / world + 1, "sequence")),
                                passes == 1 ? "1 pass" : fmt::format("{} passes", passes),
                                names_of(ShardKind{})[static_cast<std::size_t>(job.shards.kind)],
                                job.shards.reduce == ReducePrecision::kBF16 ? ", gradients sent in bf16" : ""));
    if (total < world)
      lines.push_back(
          fmt::format("ranks: {} of them have nothing to do; raise train.batch_tokens or start fewer", world - total));
  }
  lines.push_back(fmt::format("run:   {} of {} of {}, {} tokens in all, into {}", counted(steps, "step"),
                              counted(total, "sequence"), counted(context, "token"),
                              count_text(static_cast<double>(steps * total * context)), job.folder.path()));
  return lines;
}

}  // namespace spikesink
