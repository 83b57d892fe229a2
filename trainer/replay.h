#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "trainer/trainer.h"

namespace spikesink {

/// A tensor's size in two numbers, and how many of its elements are not finite; these are left out of the two.
struct TensorFigures {
  double max = 0;  ///< max |x|
  double rms = 0;  ///< root of the mean of squares
  std::int64_t not_finite = 0;
};

/// What metrics.jsonl has of a step.
struct StepFigures {
  std::int64_t step = 0;  ///< 1-based
  double loss = 0, grad_norm = 0, lr = 0;
  std::uint32_t samples = 0;  ///< see identity_of()
};

/// All that one step of a run was, on all its ranks.
struct StepReport : StepFigures {
  int ranks = 1;
  std::int64_t checkpoint = 0;  ///< step of the checkpoint that it was reached from; 0: none
  std::int64_t data_step = 0;   ///< 0-based
  std::string where;            ///< as Divergence's, if loss or norm is not finite

  std::vector<StepFigures> way;         ///< the steps from the checkpoint on
  std::optional<std::string> diverged;  ///< where the step was not finite when the run came to it, if it was
  std::int64_t logged = 0;              ///< the last step whose line in metrics.jsonl is of this way to it

  struct Sequence {
    std::int64_t draw;  ///< data_step * sequences a step + slot: of a token store as `data show --draw` has it
    double loss;        ///< nats a counted token
    int rank;           ///< that has it
  };
  std::vector<Sequence> sequences;  ///< of all ranks
  struct Module {
    std::string path;
    TensorFigures output;  ///< over all passes of the step on all ranks, before its update
    int rank = -1;         ///< the first on which it is not finite; -1: none
  };
  std::vector<Module> modules;  ///< in the order of the forward pass
  struct Parameter {
    std::string name;
    TensorFigures value, gradient;  ///< before the update; of the step's mean loss, before clipping
  };
  std::vector<Parameter> parameters;

  nlohmann::ordered_json to_json() const;
};

/// Runs a step again, from the checkpoint that `job.resume` names or from the start: the steps between with the run's
/// samples and updates, then this one with all that can be seen of it. All ranks call, and have the same report. Writes
/// nothing; moves the job's model and loader. Losses have the run's bits where it ran on as many ranks and threads, and
/// on others differ by the order of sums. After a rollback it is the step that came last, but one that diverged as it
/// did: see way_to(). `progress(step)` is told each step before.
StepReport replay(const TrainJob& job, std::int64_t step, const std::function<void(std::int64_t)>& progress);

}  // namespace spikesink
