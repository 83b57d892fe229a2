#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "configs/layers.h"
#include "configs/sweep_keys.h"
#include "configs/yaml.h"

namespace spikesink {

/// Has a sweep file such a key, and a config none by that name anywhere?
bool is_key_of_sweeps_alone(const std::string& word);

/// What is written of a sweep: its file, the files that it extends and `--set`, each key with its place. Of this part
/// only.
class SweepFile {
 public:
  SweepFile() = default;

  void add_file(const std::string& file);
  /// Keys of the sweep, or keys of a config, which count in every row.
  void add_overrides(const std::vector<std::string>& overrides);

  /// Checked.
  SweepKeys keys() const;
  /// Of a path of SweepKeys, or "rows", "grid", "zip".
  const Written* find(const std::string& path) const;
  const ConfigLayers& set() const { return set_; }
  const ConfigLayers& overrides() const { return overrides_; }

 private:
  void add_file(const std::string& file, const std::optional<Mention>& mention, FileChain& open);
  void inherit(const SweepFile& base);
  void add_key(const std::string& path, const Written& written);
  void put(const std::string& path, const Written& written);

  std::string file_;
  std::map<std::string, Written> values_;  // by path; no sections
  ConfigLayers set_, overrides_;
};

}  // namespace spikesink
