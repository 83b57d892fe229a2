#pragma once
#include <vector>

#include "kernels/optim/adamw.h"
#include "trainer/config.h"
#include "trainer/dist/shards.h"
#include "trainer/state_slice.h"

namespace spikesink {

/// AdamW's state of what this rank updates, laid out as the parameters are, and its step over all of that at once.
class Optimizer {
 public:
  /// `shards` outlive the optimizer. `seed`: of the initial values, and of rounding at random.
  Optimizer(Shards& shards, const OptimizerConfig& config, StatePrecision state = StatePrecision::kF32,
            std::uint64_t seed = 0);

  /// Weights get their initial values, and masters those that the weights are rounded from.
  void init();

  /// Clips the gradients by their global norm and takes step `step` (1-based); if the norm or `loss` (f64 (1), of
  /// all ranks; or no tensor) is not finite, nothing is changed. Does not wait.
  void step(double lr, std::int64_t step, const Tensor& loss = {});
  /// The norm before clipping of the last step(). Waits for it.
  double grad_norm() const;

  /// This rank's part of the state, each element of which is in the slices of exactly one rank: masters where there
  /// are any, else weights, and both moments. Values that are being gathered are waited for.
  std::vector<StateSlice> slices() const;
  /// The slices of what this rank updates: more than its part where that is everything.
  std::vector<StateSlice> updated_slices() const;
  /// What updated_slices() showed has been written: weights are their masters, rounded, and all ranks see them.
  void slices_written();

  /// Bytes of the pool that moments and masters take.
  std::int64_t bytes() const { return bytes_; }
  /// State of one parameter, of its shape, where this rank updates all of it; master: where the weight is not its own.
  struct State {
    Tensor m, v, master;
  };
  State state(std::size_t param) const;

 private:
  struct LayerState {
    Tensor m, v, master;  // as Shards::Piece::at counts
  };
  std::vector<StateSlice> slices_of(const std::vector<Shards::Piece>& pieces) const;

  Shards& shards_;
  OptimizerConfig config_;
  std::uint64_t seed_;
  std::vector<LayerState> states_;
  std::int64_t bytes_ = 0;
  std::vector<Shards::Piece> pieces_;
  std::vector<kernels::AdamWSegment> segments_;  // as pieces_
  std::vector<Tensor> grads_;
  Tensor grad_squares_;  // f64 (1)
};

}  // namespace spikesink
