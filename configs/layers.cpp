#include "configs/layers.h"

#include <limits>

#include "configs/rules.h"
#include "configs/sweep_file.h"

namespace spikesink {
namespace {

/// The rank of what stands in the layer itself, above all that it inherits.
constexpr int kOwn = std::numeric_limits<int>::max();

}  // namespace

void ConfigLayers::add_file(const std::string& file, const std::optional<Mention>& mention) {
  FileChain open;
  add_file(file, mention, open);
}

void ConfigLayers::add_file(const std::string& file, const std::optional<Mention>& mention, FileChain& open) {
  add_document(open_yaml(file, "config", mention, open), file, &open);
  open.chain.pop_back();
}

void ConfigLayers::add_text(const std::string& text, const std::string& name) { add_document(text, name, nullptr); }

void ConfigLayers::add_document(const std::string& text, const std::string& name, FileChain* open) {
  const Place top{name, 1, {}};
  const YAML::Node document = parse_yaml(text, top);
  if (!document.IsNull()) {
    if (!document.IsMap())
      refuse(top.of(document).text() + ": the file must be a map of keys, e.g. train: {steps: 100}");
    if (const auto extends = extends_of(document, top)) {
      if (open == nullptr) refuse(extends->place, "extends", "cannot stand in a resolved config");
      for (const std::string& base : bases_of(*extends)) {
        ConfigLayers layers;
        layers.add_file(base, Mention{extends->place, "extends", "file that extends it"}, *open);
        inherit(layers);
      }
    }
    for (const auto& [key, written] : keys_of(document, "", top))
      if (key != "extends") add_member("", key, written);
  }
  settle();
}

void ConfigLayers::inherit(const ConfigLayers& base) {
  for (const auto& [key, entry] : base.entries_) put(key, entry.written, num_bases_);
  ++num_bases_;
}

void ConfigLayers::add_overrides(const std::vector<std::string>& overrides) {
  for (const std::string& text : overrides) {
    const auto [key, written] = parse_override(text);
    add_key(key, written.value, written.place);
  }
  settle();
}

void ConfigLayers::add_map(const YAML::Node& map, const std::string& prefix, const Place& place) {
  for (const auto& [key, written] : keys_of(map, prefix, place)) add_member(prefix, key, written);
}

void ConfigLayers::add_member(const std::string& prefix, const std::string& key, const Written& written) {
  const std::string path = prefix.empty() ? key : prefix + "." + key;
  if (key.find('.') != std::string::npos && written.place.line > 0)
    refuse(written.place, path, "unknown key; dotted keys are for --set, in a file keys are nested");
  add_key(path, written.value, written.place);
}

void ConfigLayers::add_key(const std::string& path, const YAML::Node& value, const Place& place) {
  const SchemaKey* key = find_key(path);
  if (key == nullptr) {
    // The first part that is wrong is what to talk about: "trian" of trian.steps.
    std::string known = path;
    while (find_key(known) == nullptr && !parent_of(known).empty() && find_key(parent_of(known)) == nullptr)
      known = parent_of(known);
    if (const SchemaKey* leaf = find_key(parent_of(known)); leaf != nullptr && !leaf->is_section)
      refuse(place, known, fmt::format("unknown key; {} is a value and has no keys", leaf->path));
    if (is_key_of_sweeps_alone(known))
      refuse(place, known, "a sweep's key, not a config's; `spikesink sweep run` takes a sweep file");
    refuse(place, known, "unknown key; " + suggest_key(known));
  }
  if (!key->is_section) return put(path, Written{value, place}, kOwn);
  require_map(value, place, path);
  add_map(value, path, place);
}

/// Assigning to a YAML::Node would change it for all layers that share it.
void ConfigLayers::put(const std::string& key, const Written& written, int rank) {
  entries_.erase(key);
  entries_.emplace(key, Entry{written, rank});
}

void ConfigLayers::choose_alternatives() {
  for (const auto& [key, other] : kAlternatives) {
    const auto a = entries_.find(key), b = entries_.find(other);
    if (a == entries_.end() || b == entries_.end()) continue;
    if (a->second.rank == b->second.rank)
      refuse(b->second.written.place, other,
             fmt::format("{} is given too ({}); keep one of them", key, a->second.written.place.at()));
    entries_.erase(a->second.rank < b->second.rank ? a : b);
  }
}

void ConfigLayers::settle() {
  choose_alternatives();
  while (drop_one_without_effect()) continue;  // what is dropped may be the choice that another key hangs on
}

bool ConfigLayers::drop_one_without_effect() {
  const Config config = build();
  for (const Condition& condition : kConditions) {
    const auto at = entries_.find(condition.key);
    if (at == entries_.end() || condition.holds(config)) continue;
    if (at->second.rank == kOwn) {
      const Written* choice = find(condition.choice);
      refuse(at->second.written.place, condition.key,
             fmt::format("{} ({}: {}); remove it, or change {}", condition.otherwise, condition.choice,
                         choice == nullptr ? "the default" : choice->place.at(), condition.choice));
    }
    dropped_.insert_or_assign(at->first, condition.otherwise);
    entries_.erase(at);
    return true;
  }
  return false;
}

Config ConfigLayers::build() const {
  Config config;
  walk(config, [&]<class T>(const std::string& path, T& member, const char*) {
    if constexpr (!Section<T>)
      if (const Written* written = find(path)) read_value(member, written->value, written->place, path);
  });
  return config;
}

const Written* ConfigLayers::find(std::string_view key) const {
  const auto at = entries_.find(key);
  return at == entries_.end() ? nullptr : &at->second.written;
}

std::vector<std::string> ConfigLayers::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, entry] : entries_) keys.push_back(key);
  return keys;
}

std::string_view ConfigLayers::dropped(const std::string& key) const {
  const auto at = dropped_.find(key);
  return at == dropped_.end() ? std::string_view() : at->second;
}

Config ConfigLayers::finish(const std::string& name, const std::string& part) const {
  Config config = build();
  const std::string problem = problem_of(config);
  if (problem.empty()) return config;
  const Written* culprit = find(problem.substr(0, problem.find(": ")));
  Place place = culprit == nullptr ? Place{name, 0, {}} : culprit->place;
  if (!part.empty()) place.part = part;
  refuse(place.text() + ": " + problem);
}

}  // namespace spikesink
