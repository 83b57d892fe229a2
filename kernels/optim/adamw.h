#pragma once
#include <span>

#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// A parameter with its gradient and moments.
struct AdamWSegment {
  Tensor weight;        ///< inout, of any shape
  Tensor grad;          ///< as weight
  Tensor m;             ///< inout, as weight: running mean of the gradient
  Tensor v;             ///< inout, as weight: running mean of its square
  double weight_decay;  ///< a step takes away lr * weight_decay of the weight
};

/// One step of Adam with decoupled decay over all segments, in one sweep over their memory. With g = grad_scale * grad:
///   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
///   weight = weight (1 - lr weight_decay) - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps).
/// Source: Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2, with the learning rate as the schedule's multiplier
/// of the decay too, as in PyTorch.
struct AdamW {
  std::span<const AdamWSegment> segments;
  double lr;
  double beta1, beta2;  ///< in [0, 1)
  double eps;           ///< >= 0
  std::int64_t step;    ///< from 1
  double grad_scale = 1;
};
void adamw(const Stream& stream, const AdamW& args);

namespace cpu {
void adamw(const Stream& stream, const AdamW& args);
}
}  // namespace spikesink::kernels
