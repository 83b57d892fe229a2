#pragma once
#include <string>
#include <vector>

#include "configs/config.h"

namespace spikesink {

/// The config as YAML, keys in schema order, every value written out; read_config() gives back the same config to the
/// last bit. Absent optional keys and keys without effect are left out.
std::string write_config(const Config& config);

/// Every key with its default and, as a comment, what it means: a valid YAML file of the defaults. Keys that have no
/// value by default, or no effect, stand in it as comments.
std::string describe_schema();

/// What differs, in schema order, as "train.steps: 100 -> 200"; "absent" stands for a key that write_config leaves out.
std::vector<std::string> config_difference(const Config& before, const Config& after);

}  // namespace spikesink
