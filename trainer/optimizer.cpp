#include "trainer/optimizer.h"

#include <cmath>

#include "kernels/optim/sum_of_squares.h"

namespace spikesink {

Optimizer::Optimizer(const Stream& stream, ParamSet& params, const OptimizerConfig& config, StatePrecision state,
                     std::uint64_t seed)
    : stream_(stream), params_(params), config_(config), seed_(seed), grad_squares_(stream.zeros({1}, DType::kF64)) {
  std::int64_t first = 0;
  for (const Param& p : params.all()) {
    const bool narrow = p.value.dtype() == DType::kBF16, master = narrow && state == StatePrecision::kF32;
    const DType dtype = master ? DType::kF32 : p.value.dtype();
    const State& s = states_.emplace_back(State{.m = stream.zeros(p.shape, dtype),
                                                .v = stream.zeros(p.shape, dtype),
                                                .master = master ? stream.zeros(p.shape, dtype) : Tensor{}});
    segments_.push_back({.weight = p.value,
                         .grad = p.grad,
                         .m = s.m,
                         .v = s.v,
                         .master = s.master,
                         .weight_decay = p.decays() ? config.weight_decay : 0.0,
                         .first = first});
    first += (p.shape.numel() + 1) / 2 * 2;
  }
  for (const LayerBuffer& layer : params_.layers())
    if (layer.numel > 0) grads_.push_back(layer.grads);
}

void Optimizer::init_masters(std::uint64_t seed) {
  for (std::size_t i = 0; i < states_.size(); ++i)
    if (states_[i].master) draw_initial_values(stream_, params_.all()[i], states_[i].master, seed);
}

void Optimizer::step(double lr, std::int64_t step) {
  kernels::sum_of_squares(stream_, {.total = grad_squares_, .tensors = grads_});
  kernels::adamw(stream_, {.segments = segments_,
                           .lr = lr,
                           .beta1 = config_.betas[0],
                           .beta2 = config_.betas[1],
                           .eps = config_.eps,
                           .step = step,
                           .grad_squares = grad_squares_,
                           .clip = config_.clip,
                           .seed = seed_});
}

double Optimizer::grad_norm() const { return std::sqrt(stream_.on_host(grad_squares_).data<double>()[0]); }

}  // namespace spikesink
