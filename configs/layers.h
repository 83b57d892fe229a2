#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "configs/config.h"
#include "configs/yaml.h"

namespace spikesink {

/// What has been written of a config: each key with its place. A layer is a file, a text, all `--set`, or what a sweep
/// says of a row; it inherits layers below it, whose useless keys it drops, and refuses useless ones of its own. Of
/// this part only.
class ConfigLayers {
 public:
  ConfigLayers() = default;

  void add_file(const std::string& file, const std::optional<Mention>& mention = std::nullopt);
  void add_text(const std::string& text, const std::string& name);
  void add_overrides(const std::vector<std::string>& overrides);

  /// A key with dots, or a map of keys below it.
  void add_key(const std::string& path, const YAML::Node& value, const Place& place);
  /// The keys of `map`, which stands at `prefix`.
  void add_map(const YAML::Node& map, const std::string& prefix, const Place& place);

  /// Takes over what `base` has. Later bases override earlier ones.
  void inherit(const ConfigLayers& base);
  /// Keeps the last written of two keys that say the same thing, and refuses both in one layer.
  void choose_alternatives();
  /// The same, and drops what is inherited and useless here, and refuses what is useless where it stands.
  void settle();
  /// Refuses what has the wrong type.
  void check_types() const { build(); }

  /// The checked config. `name`: the place of what is written nowhere; `part` says of whom a message speaks.
  Config finish(const std::string& name, const std::string& part = {}) const;

  const Written* find(std::string_view key) const;
  /// All keys that are written, with dots.
  std::vector<std::string> keys() const;
  /// Why a key was dropped by settle(); empty if it was not.
  std::string_view dropped(const std::string& key) const;

 private:
  struct Entry {
    Written written;
    int rank;  ///< what is inherited 0, 1, ... in the order of inherit(), then kOwn
  };

  void add_file(const std::string& file, const std::optional<Mention>& mention, FileChain& open);
  /// `open`: null for a text that is no file's, which extends nothing.
  void add_document(const std::string& text, const std::string& name, FileChain* open);
  void add_member(const std::string& prefix, const std::string& key, const Written& written);
  void put(const std::string& key, const Written& written, int rank);
  bool drop_one_without_effect();
  Config build() const;

  std::map<std::string, Entry, std::less<>> entries_;  // by path; values only, no sections
  std::map<std::string, std::string_view> dropped_;
  int num_bases_ = 0;
};

}  // namespace spikesink
