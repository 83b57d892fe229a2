#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "trainer/dist/muted.h"
#include "trainer/training_step.h"

namespace spikesink {

/// How fast whole training steps run. Medians over steps; the matrix rate is measured between the steps, so that both
/// see the same machine.
struct TrainBenchResult {
  std::int64_t parameters = 0, tokens_per_step = 0, steps = 0;
  int threads = 0;
  double step_seconds = 0;  ///< forward, backward and optimizer
  double step_seconds_min = 0, step_seconds_max = 0;
  double matrix_rate = 0;                ///< what MFU is a share of: see training_peak()
  double measured_matrix_rate = 0;       ///< of a large product in the same run
  double flops_per_token = 0;            ///< see models/cost.h
  std::int64_t pool_peak_bytes = 0;      ///< of tensors: MemoryUse::peak
  std::int64_t pool_reserved_bytes = 0;  ///< MemoryUse::reserved
  std::int64_t process_peak_bytes = 0;   ///< resident, of the whole process
  std::string device;                    ///< the GPU's name, or "cpu"
  int world = 1;                         ///< ranks, which share the tokens of a step
  std::int64_t sent_bytes = 0;           ///< of a step, by this rank
  double seconds_without_sending = 0;    ///< of a step that is muted; 0 where none was
  // On a GPU:
  std::int64_t device_used_bytes = 0;  ///< after the steps: pools, context, libraries, and other programs
  std::int64_t device_total_bytes = 0;
  std::int64_t graph_replays = 0;  ///< of passes, in all steps

  double tokens_per_second() const { return static_cast<double>(tokens_per_step) / step_seconds; }
  /// Share of the matrix rate of all ranks that the model's FLOPs reach.
  double mfu() const { return tokens_per_second() * flops_per_token / (matrix_rate * world); }
};

/// `rows` of T + 1 tokens, drawn evenly.
std::vector<std::int32_t> random_samples(const ModelConfig& model, std::int64_t rows);

/// Times `steps` steps on random tokens, after one or two that are not counted. All ranks call it and begin each step
/// together; the times are this rank's.
/// With `muted`, which is the step's communicator, each step that is timed has one beside it that sends nothing.
TrainBenchResult bench_training(TrainingStep& step, std::int64_t steps, MutedCommunicator* muted = nullptr);

}  // namespace spikesink
