#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "configs/config.h"

namespace spikesink {

/// Of a line of config_difference(): is it of a key that only says where the data lies, how it is read, or what is held
/// to be too broken? The samples stay those of its fingerprint.
bool leaves_samples(std::string_view change);

/// What --resume may not change: the keys that decide the model, its data or the samples of past steps, as
/// "model.d_model: 128 -> 64". Empty: `after` may go on from where `before` stopped.
std::vector<std::string> changes_of_past_samples(const Config& before, const Config& after);

}  // namespace spikesink
