#pragma once
#include <vector>

#include "kernels/optim/adamw.h"
#include "models/param.h"
#include "trainer/config.h"

namespace spikesink {

/// AdamW's state, laid out as the parameters are, and its step over all of them at once.
class Optimizer {
 public:
  /// `params` must be allocated with gradients and outlive the optimizer, as must `stream`. `seed`: of rounding.
  Optimizer(const Stream& stream, ParamSet& params, const OptimizerConfig& config,
            StatePrecision state = StatePrecision::kF32, std::uint64_t seed = 0);

  /// Masters get the initial values that the weights are rounded from.
  void init_masters(std::uint64_t seed);

  /// Clips the gradients in `params` by their global norm and takes step `step` (1-based); if the norm is not finite,
  /// nothing is changed. Does not wait.
  void step(double lr, std::int64_t step);
  /// The norm before clipping of the last step(). Waits for it.
  double grad_norm() const;

  /// State of one parameter, of its shape; master: where the weight is not its own.
  struct State {
    Tensor m, v, master;
  };
  const State& state(std::size_t param) const { return states_[param]; }

 private:
  const Stream& stream_;
  ParamSet& params_;
  OptimizerConfig config_;
  std::uint64_t seed_;
  std::vector<State> states_;  // as ParamSet::all()
  std::vector<kernels::AdamWSegment> segments_;
  std::vector<Tensor> grads_;
  Tensor grad_squares_;  // f64 (1)
};

}  // namespace spikesink
