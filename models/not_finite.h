#pragma once
#include <string>

#include "models/sample_loss.h"

namespace spikesink {

/// The path of the first module whose output on `samples` is not finite, in the order in which the passes go forward;
/// "the LM head" if all are finite. Runs the passes and waits for every module.
std::string first_not_finite_activation(const Stream& stream, const Decoder& model,
                                        std::span<const std::int32_t> samples, const SampleShape& shape);

/// The name of the first parameter in the order of the backward pass, last to first, whose gradient is not finite; or
/// "their sum", when each is finite and only the sum of squares is not.
std::string first_not_finite_gradient(const Stream& stream, const ParamSet& params);

}  // namespace spikesink
