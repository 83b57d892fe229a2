#include "trainer/optimizer.h"

#include <cmath>

#include "kernels/optim/sum_of_squares.h"

namespace spikesink {

Optimizer::Optimizer(const Stream& stream, ParamSet& params, const OptimizerConfig& config)
    : stream_(stream), params_(params), config_(config) {
  for (const Param& p : params.all()) {
    const Moments& moments =
        moments_.emplace_back(Moments{stream.zeros(p.shape, p.value.dtype()), stream.zeros(p.shape, p.value.dtype())});
    segments_.push_back({.weight = p.value,
                         .grad = p.grad,
                         .m = moments.m,
                         .v = moments.v,
                         .weight_decay = p.decays() ? config.weight_decay : 0.0});
  }
}

double Optimizer::step(double lr, std::int64_t step) {
  std::vector<Tensor> grads;
  for (const LayerBuffer& layer : params_.layers())
    if (layer.numel > 0) grads.push_back(layer.grads);
  const Tensor squares = stream_.empty({1}, DType::kF64);
  kernels::sum_of_squares(stream_, {.total = squares, .tensors = grads});
  const double norm = std::sqrt(stream_.on_host(squares).data<double>()[0]);
  if (!std::isfinite(norm)) return norm;
  kernels::adamw(stream_, {.segments = segments_,
                           .lr = lr,
                           .beta1 = config_.betas[0],
                           .beta2 = config_.betas[1],
                           .eps = config_.eps,
                           .step = step,
                           .grad_scale = config_.clip > 0 && norm > config_.clip ? config_.clip / norm : 1.0});
  return norm;
}

}  // namespace spikesink
