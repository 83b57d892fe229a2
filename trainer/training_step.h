#pragma once
#include <optional>
#include <span>
#include <string>

#include "models/sample_loss.h"
#include "trainer/config.h"
#include "trainer/dist/shards.h"
#include "trainer/memory.h"
#include "trainer/optimizer.h"

namespace spikesink {

/// What steps are made of. All referred to outlive them.
struct StepSetup {
  const Stream& stream;
  Decoder& model;  ///< gets its memory from the steps, and has none after them
  DType precision;
  const TrainConfig& train;
  StatePrecision state_precision = StatePrecision::kF32;
  Shards::Options shards = {};
  Communicator& communicator;
  std::uint64_t seed = 1;                                  ///< of the initial weights, and of rounding at random
  std::optional<std::int32_t> end_of_text = std::nullopt;  ///< as SampleShape's: attention stays inside documents
};

/// One step of training after another, on one of many ranks or alone: the passes over the rank's sequences, the sums
/// over ranks and the optimizer. All ranks call the same functions.
class TrainingStep {
 public:
  explicit TrainingStep(const StepSetup& setup);

  const StepSetup& setup() const { return setup_; }
  const SampleShape& shape() const { return shape_; }
  /// The sequences of a step that run() takes on this rank.
  const StepShare& share() const { return share_; }
  /// Step `step` (1-based) on `samples`, share().count rows of T + 1 tokens. Does not wait.
  void run(std::span<const std::int32_t> samples, double lr, std::int64_t step);
  /// The same on a dry stream, without samples.
  void run_dry(double lr, std::int64_t step);
  /// The mean loss of the step's sequences on all ranks, in nats, before its update. Waits for it.
  double loss() const { return passes_.loss(); }
  /// Of the gradients of all ranks, before clipping. Waits for it.
  double grad_norm() const { return optimizer_.grad_norm(); }
  /// Where the last run(), whose loss or gradient norm is not finite and which so has changed nothing, came to what is
  /// not: the first module's output on the first rank that has one, or the first gradient on the way back of the first
  /// rank whose own samples lead to one. On many ranks the latter runs the step's passes again for each of them.
  std::string first_not_finite_activation(std::span<const std::int32_t> samples) const;
  std::string first_not_finite_gradient(std::span<const std::int32_t> samples);

  /// Takes the weights and moments of a checkpoint.
  void load(const std::string& checkpoint);

  Optimizer& optimizer() { return optimizer_; }
  const Optimizer& optimizer() const { return optimizer_; }
  Shards& shards() { return shards_; }
  const Shards& shards() const { return shards_; }
  const TrainingPasses& passes() const { return passes_; }
  MemoryUse memory() const { return MemoryUse::of(setup_.stream, passes_); }

 private:
  void update(double lr, std::int64_t step);
  std::string first_not_finite_of_gradients() const;

  StepSetup setup_;
  SampleShape shape_;
  StepShare share_;
  Shards shards_;
  Optimizer optimizer_;
  TrainingPasses passes_;
};

}  // namespace spikesink
