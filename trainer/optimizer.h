#pragma once
#include <vector>

#include "kernels/optim/adamw.h"
#include "models/param.h"
#include "trainer/config.h"

namespace spikesink {

/// AdamW's moments, laid out as the parameters are, and its step over all of them at once.
class Optimizer {
 public:
  /// `params` must be allocated with gradients and outlive the optimizer.
  Optimizer(const Stream& stream, ParamSet& params, const OptimizerConfig& config);

  /// Clips the gradients in `params` by their global norm and takes step `step` (1-based). Returns the norm before
  /// clipping; if it is not finite, nothing is changed.
  double step(double lr, std::int64_t step);

  /// Moments of one parameter, of its shape.
  struct Moments {
    Tensor m, v;
  };
  const Moments& moments(std::size_t param) const { return moments_[param]; }

 private:
  const Stream& stream_;
  ParamSet& params_;
  OptimizerConfig config_;
  std::vector<Moments> moments_;  // as ParamSet::all()
  std::vector<kernels::AdamWSegment> segments_;
};

}  // namespace spikesink
