#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/config.h"

namespace spikesink {

/// `model` as JSON: the keys of the YAML map of that name, all of them; d_hidden with its value, also where it is the
/// default one.
nlohmann::ordered_json model_json(const ModelConfig& model);

/// What model_json() wrote. Keys that are not there keep their default. DataError that begins with `where` for an
/// unknown key, a value of the wrong type, and an impossible model.
ModelConfig model_of_json(const nlohmann::json& json, const std::string& where);

}  // namespace spikesink
