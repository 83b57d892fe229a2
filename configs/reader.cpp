#include "configs/reader.h"

#include "configs/layers.h"

namespace spikesink {

Config read_config(const std::string& file, const std::vector<std::string>& overrides) {
  ConfigLayers base, layers;
  base.add_file(file);
  layers.inherit(base);
  layers.add_overrides(overrides);
  return layers.finish(file);
}

Config read_config_text(const std::string& text, const std::string& name, const std::vector<std::string>& overrides) {
  ConfigLayers base, layers;
  base.add_text(text, name);
  layers.inherit(base);
  layers.add_overrides(overrides);
  return layers.finish(name);
}

}  // namespace spikesink
