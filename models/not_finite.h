#pragma once
#include <string>

#include "models/sample_loss.h"

namespace spikesink {

/// What first_not_finite_activation() says where the loss is not finite, but the output of every module is.
inline constexpr const char* kNoModule = "the LM head";

/// The path of the first module whose output on `samples` is not finite, in the order in which the passes go forward;
/// empty if all are finite, and the loss too. Runs the passes and waits for every module.
std::string first_not_finite_activation(const Stream& stream, const Decoder& model,
                                        std::span<const std::int32_t> samples, const SampleShape& shape);

/// Are all elements of `t`, in bf16 or f32, or f64 below 1e150? Waits for the answer.
bool all_finite(const Stream& stream, const Tensor& t);

}  // namespace spikesink
