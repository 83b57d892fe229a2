#pragma once
#include <span>

#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// A parameter with its gradient and moments, stored in one of three ways:
///   f32 (on the CPU f64 too): weight, m and v of that dtype, no master;
///   bf16 weight, f32 master, m and v: the master is updated, and the weight is the master rounded. CUDA only;
///   bf16 weight, m and v, no master: each is rounded up or down at random, with the chances that make its mean right,
///     so that updates below half a unit in the last place are not lost. CUDA only.
struct AdamWSegment {
  Tensor weight;        ///< inout, of any shape
  Tensor grad;          ///< acc_dtype of weight, its shape
  Tensor m;             ///< inout, its shape: running mean of the gradient
  Tensor v;             ///< inout, its shape: running mean of its square
  Tensor master = {};   ///< inout f32, its shape; or no tensor
  double weight_decay;  ///< a step takes away lr * weight_decay of the weight
  /// Which of all elements that are rounded at random the segment's first is: no two segments share numbers, and shards
  /// have those of the whole. Best even.
  std::int64_t first = 0;
};

/// One step of Adam with decoupled decay over all segments, in one sweep over their memory. With g = factor * grad:
///   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
///   weight = weight (1 - lr weight_decay) - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps),
/// where factor is clip / norm if the norm of all gradients, sqrt(grad_squares), is above clip > 0, else 1. If the norm
/// or the loss is not finite, nothing is changed. The host reads none of it.
/// Sources: Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2, with the learning rate as the schedule's
/// multiplier of the decay too, as in PyTorch; rounding at random as in Zamirai et al. 2020, arXiv:2010.06192.
struct AdamW {
  std::span<const AdamWSegment> segments;
  double lr;
  double beta1, beta2;       ///< in [0, 1)
  double eps;                ///< >= 0
  std::int64_t step;         ///< from 1
  Tensor grad_squares = {};  ///< f64 (1), of sum_of_squares; or no tensor: nothing is clipped or looked at
  Tensor loss = {};          ///< f64 (1), in any units; or no tensor: it is not looked at
  double clip = 0;           ///< the largest norm, or 0: none
  std::uint64_t seed = 0;    ///< of rounding at random: a Philox draw of (seed, step, first + i) for each element i
};
void adamw(const Stream& stream, const AdamW& args);

namespace cpu {
void adamw(const Stream& stream, const AdamW& args);
}
namespace cuda {
void adamw(const Stream& stream, const AdamW& args);
}
}  // namespace spikesink::kernels
