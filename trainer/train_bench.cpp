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

TrainBenchResult bench_training(TrainingStep& training, std::int64_t steps, MutedCommunicator* muted) {
  require(steps > 0, "bench_training: ", steps, " steps");
  const StepSetup& setup = training.setup();
  const Stream& stream = setup.stream;
  Communicator& communicator = setup.communicator;
  const ModelConfig& config = setup.model.config();
  const StepShare& share = training.share();
  const auto row = static_cast<std::size_t>(config.context + 1);
  const auto all = random_samples(config, share.total);
  const auto samples =
      std::span(all).subspan(static_cast<std::size_t>(share.first) * row, static_cast<std::size_t>(share.count) * row);
  training.optimizer().init();
  const std::int64_t replays_before = Graph::num_replays(stream);
  const bool cuda = stream.device == Device::kCuda;
  const double measured_on_gpu = cuda ? matrix_rate_aside(stream, setup.precision) : 0;
  std::int64_t step = 0, sent = 0;
  const auto seconds_of_step = [&] {
    communicator.barrier();
    const std::int64_t sent_before = communicator.traffic().sent_bytes;
    const auto begin = std::chrono::steady_clock::now();
    training.run(samples, setup.train.optimizer.lr, ++step);
    training.loss();
    training.grad_norm();
    sent = communicator.traffic().sent_bytes - sent_before;
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  // The first step of several passes records their graph too.
  for (int i = 0; i < (cuda && share.passes > 1 ? 1 : 2); ++i) seconds_of_step();
  std::vector<double> seconds, without, rates;
  for (std::int64_t i = 0; i < steps; ++i) {
    rates.push_back(training_peak(stream, setup.precision));
    if (muted) {  // a step's gathers end in the next one, so each that is timed follows one of its kind
      muted->mute(true);
      seconds_of_step();
      without.push_back(seconds_of_step());
      muted->mute(false);
      seconds_of_step();
    }
    seconds.push_back(seconds_of_step());
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
                          .world = communicator.world(),
                          .sent_bytes = sent,
                          .seconds_without_sending = without.empty() ? 0 : median(without),
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
