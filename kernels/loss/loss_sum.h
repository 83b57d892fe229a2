#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// total += sum_n losses_n, in double and in an order that N alone decides: what a step's loss is gathered in from
/// pass to pass, without the host reading any of them.
struct LossSum {
  Tensor total;   ///< inout f64 (1), added to
  Tensor losses;  ///< f32 or f64 (N)
};
void loss_sum(const Stream& stream, const LossSum& args);

namespace cpu {
void loss_sum(const Stream& stream, const LossSum& args);
}
namespace cuda {
void loss_sum(const Stream& stream, const LossSum& args);
}
}  // namespace spikesink::kernels
