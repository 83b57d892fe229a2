#include "configs/sweep_file.h"

#include <algorithm>
#include <string_view>

namespace spikesink {
namespace {

/// All paths that a sweep file may have, "set" and "rows" among them, with whether they are maps of such paths.
const std::vector<SchemaKey>& sweep_paths() {
  static const std::vector<SchemaKey> paths = [] {
    std::vector<SchemaKey> all = {{"extends", false}, {"set", false}, {"rows", false}, {"grid", false}, {"zip", false}};
    SweepKeys keys;
    walk(keys, [&](const std::string& path, auto& member, const char*) {
      all.push_back({path, Section<std::remove_reference_t<decltype(member)>>});
    });
    return all;
  }();
  return paths;
}

const SchemaKey* find_path(std::string_view path) {
  const auto& paths = sweep_paths();
  const auto at = std::find_if(paths.begin(), paths.end(), [&](const SchemaKey& key) { return key.path == path; });
  return at == paths.end() ? nullptr : &*at;
}

std::string suggest_path(std::string_view path) {
  std::vector<std::string_view> here;
  for (const SchemaKey& key : sweep_paths())
    if (parent_of(key.path) == parent_of(path)) here.push_back(name_of(key.path));
  if (nearest(name_of(path), here).empty())
    for (const SchemaKey& key : sweep_paths())
      if (name_of(key.path) == name_of(path)) return "did you mean " + key.path + "?";
  return suggest_of(name_of(path), here);
}

[[noreturn]] void refuse_unknown(const Place& place, std::string path) {
  if (const SchemaKey* of_config = find_key(path); of_config != nullptr && parent_of(path).empty())
    refuse(
        place, path,
        fmt::format("is a key of a config, not of a sweep; write set: {{{}: ...}}, or name the config in base", path));
  if (path.find('.') != std::string::npos && find_path(path) != nullptr)
    refuse(place, path, "unknown key; dotted keys are for --set, in a file keys are nested");
  while (!parent_of(path).empty() && find_path(parent_of(path)) == nullptr)
    path = parent_of(path);  // the first wrong one
  if (const SchemaKey* parent = find_path(parent_of(path)); parent != nullptr && !parent->is_section)
    refuse(place, path, fmt::format("unknown key; {} is a value and has no keys", parent->path));
  refuse(place, path, "unknown key; " + suggest_path(path));
}

bool is_name_in_configs(std::string_view word) {
  const auto& keys = schema_keys();
  return std::any_of(keys.begin(), keys.end(), [&](const SchemaKey& key) { return name_of(key.path) == word; });
}

/// Of `--set`, where keys of a config and of a sweep may stand.
[[noreturn]] void refuse_unknown_word(const Place& place, const std::string& word) {
  std::vector<std::string_view> words;
  for (const SchemaKey& key : sweep_paths())
    if (parent_of(key.path).empty() && key.path != "extends" && key.path != "set") words.push_back(key.path);
  const std::size_t of_sweep = words.size();
  for (const SchemaKey& key : schema_keys())
    if (parent_of(key.path).empty()) words.push_back(key.path);
  std::string suggestion = suggest_of(word, words);
  if (is_name_in_configs(word) || nearest(word, words).empty()) {
    const std::string in_config = suggest_key(word);  // "steps" is train.steps
    suggestion =
        in_config.starts_with("did you mean")
            ? in_config
            : fmt::format("a sweep's are {}, a config's {}", fmt::join(words.begin(), words.begin() + of_sweep, ", "),
                          fmt::join(words.begin() + of_sweep, words.end(), ", "));
  }
  refuse(place, word, "unknown key; " + suggestion);
}

std::string first_word(const std::string& path) { return path.substr(0, path.find('.')); }

}  // namespace

bool is_key_of_sweeps_alone(const std::string& word) {
  return word != "extends" && find_path(word) != nullptr && parent_of(word).empty() && !is_name_in_configs(word);
}

void SweepFile::add_file(const std::string& file) {
  FileChain open;
  add_file(file, std::nullopt, open);
}

void SweepFile::add_file(const std::string& file, const std::optional<Mention>& mention, FileChain& open) {
  file_ = file;
  const std::string text = open_yaml(file, "sweep", mention, open);
  const Place top{file, 1, {}};
  const YAML::Node document = parse_yaml(text, top);
  if (!document.IsMap()) refuse(top.of(document).text() + ": the file must be a map of keys, e.g. base: baseline.yaml");
  if (const auto extends = extends_of(document, top))
    for (const std::string& base : bases_of(*extends)) {
      SweepFile read;
      read.add_file(base, Mention{extends->place, "extends", "file that extends it"}, open);
      inherit(read);
    }
  open.chain.pop_back();
  for (const auto& [key, written] : keys_of(document, "", top)) {
    if (key == "extends") continue;
    if (find_path(key) == nullptr || key.find('.') != std::string::npos) refuse_unknown(written.place, key);
    add_key(key, written);
  }
  set_.choose_alternatives();
  set_.check_types();
}

/// `name` is the file's own: two sweeps with one name would write into one folder.
void SweepFile::inherit(const SweepFile& base) {
  for (const auto& [path, written] : base.values_)
    if (path != "name") put(path, written);
  set_.inherit(base.set_);
}

void SweepFile::add_overrides(const std::vector<std::string>& overrides) {
  for (const std::string& text : overrides) {
    const auto [key, written] = parse_override(text);
    const std::string word = first_word(key);
    if (word == "set") refuse(written.place, "set", "leave it out: keys of a config are given as they are");
    if (word == "extends") refuse(written.place, "extends", "stands in a file only");
    if (find_path(word) != nullptr) {
      add_key(key, written);
    } else {
      if (find_key(word) == nullptr) refuse_unknown_word(written.place, word);
      overrides_.add_key(key, written.value, written.place);
    }
  }
  overrides_.choose_alternatives();
  overrides_.check_types();
}

void SweepFile::add_key(const std::string& path, const Written& written) {
  const auto& [value, place] = written;
  const SchemaKey* key = find_path(path);
  if (key == nullptr) refuse_unknown(place, path);
  if (path == "set") {
    require_map(value, place, path);
    Place in_set = place;
    in_set.part = "set";
    set_.add_map(value, "", in_set);
  } else if (key->is_section) {
    require_map(value, place, path);
    for (const auto& [name, member] : keys_of(value, path, place)) add_key(path + "." + name, member);
  } else {
    put(path, written);
  }
}

/// Assigning to a YAML::Node would change it for all that share it.
void SweepFile::put(const std::string& path, const Written& written) {
  values_.erase(path);
  values_.emplace(path, written);
}

const Written* SweepFile::find(const std::string& path) const {
  const auto at = values_.find(path);
  return at == values_.end() ? nullptr : &at->second;
}

SweepKeys SweepFile::keys() const {
  SweepKeys keys;
  walk(keys, [&]<class T>(const std::string& path, T& member, const char*) {
    if constexpr (!Section<T>)
      if (const Written* written = find(path)) read_value(member, written->value, written->place, path);
  });
  const std::string problem = problem_of(keys);
  if (problem.empty()) return keys;
  const Written* culprit = find(problem.substr(0, problem.find(": ")));
  refuse((culprit == nullptr ? file_ : culprit->place.text()) + ": " + problem);
}

}  // namespace spikesink
