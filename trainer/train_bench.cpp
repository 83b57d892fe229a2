#include "trainer/train_bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/core/random.h"
#include "models/cost.h"
#include "trainer/bench/clock.h"
#include "trainer/matrix_rate.h"

namespace spikesink {
namespace {

/// Measured in memory that is given back: the peaks are those of training.
double matrix_rate_aside(const Stream& stream, DType dtype) {
  return measure_matrix_rate(stream.with_own_pool(), dtype);
}

}  // namespace

std::vector<std::int32_t> random_samples(const ModelConfig& model, std::int64_t rows) {
  const Random random{.seed = 1, .stream = name_hash("bench samples")};
  std::vector<std::int32_t> samples(static_cast<std::size_t>(rows * (model.context + 1)));
  for (std::size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<std::int32_t>(random.below(i, static_cast<std::uint64_t>(model.vocab_size)));
  return samples;
}

TrainBenchResult bench_training(TrainingStep& training, std::int64_t steps) {
  require(steps > 0, "bench_training: ", steps, " steps");
  const StepSetup& setup = training.setup();
  const Stream& stream = setup.stream;
  const ModelConfig& config = setup.model.config();
  const StepShare& share = training.share();
  const auto row = static_cast<std::size_t>(config.context + 1);
  const auto all = random_samples(config, share.total);
  const auto samples =
      std::span(all).subspan(static_cast<std::size_t>(share.first) * row, static_cast<std::size_t>(share.count) * row);
  training.optimizer().init();
  const std::int64_t replays_before = Graph::num_replays(stream);
  const bool cuda = stream.device == Device::kCuda;
  // The first step of several passes records their graph too.
  const int warm_up = cuda && share.passes > 1 ? 1 : 2;
  const double measured_on_gpu = cuda ? matrix_rate_aside(stream, setup.precision) : 0;
  std::vector<double> seconds, rates;
  std::int64_t sent = 0;
  for (std::int64_t step = 1; step <= warm_up + steps; ++step) {
    rates.push_back(training_peak(stream, setup.precision));
    setup.communicator.barrier();
    const std::int64_t sent_before = setup.communicator.traffic().sent_bytes;
    const auto begin = std::chrono::steady_clock::now();
    training.run(samples, setup.train.optimizer.lr, step);
    training.loss();
    training.grad_norm();
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (step > warm_up) seconds.push_back(took);
    sent = setup.communicator.traffic().sent_bytes - sent_before;
  }
  const MemoryUse memory = training.memory();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  TrainBenchResult result{.parameters = setup.model.params().num_elements(),
                          .tokens_per_step = share.total * config.context,
                          .steps = steps,
                          .threads = stream.num_threads,
                          .step_seconds = median(seconds),
                          .step_seconds_min = std::ranges::min(seconds),
                          .step_seconds_max = std::ranges::max(seconds),
                          .matrix_rate = median(rates),
                          .measured_matrix_rate = cuda ? measured_on_gpu : median(rates),
                          .flops_per_token = cost_of(config, setup.train.loss_from_position).flops(),
                          .pool_peak_bytes = memory.peak,
                          .pool_reserved_bytes = memory.reserved,
                          .process_peak_bytes = usage.ru_maxrss * 1024,
                          .device = "cpu",
                          .world = setup.communicator.world(),
                          .sent_bytes = sent,
                          .graph_replays = Graph::num_replays(stream) - replays_before};
  if constexpr (kHasCuda) {
    if (cuda) {
      const gpu::Info gpu = gpu::info();
      result.device = gpu.name;
      result.device_total_bytes = gpu.total_bytes;
      result.device_used_bytes = gpu.total_bytes - gpu.free_bytes;
    }
  }
  return result;
}

}  // namespace spikesink
