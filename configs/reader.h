#pragma once
#include <string>
#include <vector>

#include "configs/config.h"

namespace spikesink {

/// Reads a config file, the files that it extends, and then `overrides`, each "key=value" with a dotted key and a YAML
/// value, as `--set` gives them. Strict: anything unknown, of the wrong type, without effect or impossible is a
/// UsageError of one line that begins with the place, "file.yaml:5: " or "--set key=value: ".
///
/// `extends: base.yaml`, or a list of files of which later ones override earlier ones, is relative to the file that it
/// stands in. An inherited key that is useless here (configs/rules.h) is dropped. All overrides count as one file that
/// extends `file`.
Config read_config(const std::string& file, const std::vector<std::string>& overrides = {});

/// The same for a text, such as the resolved config that a checkpoint keeps; `name` stands for the file in messages.
Config read_config_text(const std::string& text, const std::string& name,
                        const std::vector<std::string>& overrides = {});

}  // namespace spikesink
