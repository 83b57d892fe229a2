#pragma once
#include <string>
#include <vector>

#include "configs/config.h"

namespace spikesink {

/// What --resume may not change: the keys that decide the model, its data or the samples of past steps, as
/// "model.d_model: 128 -> 64". Empty: `after` may go on from where `before` stopped.
std::vector<std::string> changes_of_past_samples(const Config& before, const Config& after);

}  // namespace spikesink
