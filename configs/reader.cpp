#include "configs/reader.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string_view>

#include "configs/rules.h"
#include "configs/scalars.h"
#include "configs/schema.h"
#include "io/failure.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

/// A file, or one `--set`: what messages begin with.
struct Place {
  std::string source;  ///< "tiny.yaml" or "--set key=value"
  int line = 0;        ///< 1-based; 0 for --set

  std::string text() const { return line > 0 ? fmt::format("{}:{}", source, line) : source; }
  /// Where `node` begins, if it has a line of its own.
  Place of(const YAML::Node& node) const { return line > 0 ? Place{source, node.Mark().line + 1} : *this; }
};

/// A message is one line, whatever a key or file is called.
[[noreturn]] void refuse(std::string message) {
  std::replace_if(
      message.begin(), message.end(), [](unsigned char c) { return c < ' '; }, ' ');
  throw UsageError(message);
}

[[noreturn]] void refuse(const Place& place, std::string_view key, std::string_view what) {
  refuse(fmt::format("{}: {}: {}", place.text(), key, what));
}

/// A key's value as it was written last.
struct Entry {
  YAML::Node value;
  Place place;
  int source;  ///< rank: what is inherited 0, 1, ... in the order of `extends`, then kOwn
};

/// The rank of what stands in the file that is being read (or in --set), above all that it extends.
constexpr int kOwn = std::numeric_limits<int>::max();
using Entries = std::map<std::string, Entry, std::less<>>;  // by path; values only, no sections

// ---- one value

template <class T>
std::string expected_of(const T&) {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, std::int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string>) return "a text";
  if constexpr (std::is_enum_v<T>) return fmt::format("one of {}", fmt::join(names_of(T{}), ", "));
}

template <class T>
std::optional<T> parse(const std::string& text) {
  if constexpr (std::is_same_v<T, bool>) return parse_bool(text);
  if constexpr (std::is_same_v<T, std::int64_t>) return parse_integer(text);
  if constexpr (std::is_same_v<T, double>) return parse_number(text);
  if constexpr (std::is_same_v<T, std::string>) return text;
  if constexpr (std::is_enum_v<T>) {
    const auto names = names_of(T{});
    const auto at = std::find(names.begin(), names.end(), text);
    return at == names.end() ? std::nullopt : std::optional(static_cast<T>(at - names.begin()));
  }
}

template <class T>
void read_value(T& member, const YAML::Node& node, const Place& place, const std::string& key) {
  const std::string expected = expected_of(member);
  if (node.IsNull()) refuse(place, key, fmt::format("has no value; give {}, or remove the key", expected));
  if (!node.IsScalar())
    refuse(place, key, fmt::format("is a {}, but must be {}", node.IsMap() ? "map" : "list", expected));
  const std::string& text = node.Scalar();
  if (const auto value = parse<T>(text)) {
    member = *value;
    return;
  }
  std::string hint;
  if constexpr (std::is_enum_v<T>) {
    const auto names = names_of(T{});
    std::string_view near = nearest(text, {names.begin(), names.end()});
    if constexpr (std::is_same_v<T, DeviceChoice>)
      if (const std::string_view meant = meant_by(T{}, text); !meant.empty()) near = meant;
    if (!near.empty()) hint = fmt::format("; did you mean {}?", near);
  }
  refuse(place, key, fmt::format("{} is not {}{}", quoted(text), expected, hint));
}

template <class T>
void read_value(std::optional<T>& member, const YAML::Node& node, const Place& place, const std::string& key) {
  read_value(member.emplace(), node, place, key);
}

template <class T>
void read_value(std::vector<T>& members, const YAML::Node& node, const Place& place, const std::string& key) {
  if (node.IsNull()) refuse(place, key, "has no value; give a list, which may be empty: []");
  if (node.IsMap()) refuse(place, key, "is a map, but must be a list");
  if (node.IsScalar())
    refuse(place, key, fmt::format("{} is not a list; write [{}]", quoted(node.Scalar()), node.Scalar()));
  members.clear();
  for (const YAML::Node& item : node) {
    T member{};
    read_value(member, item, place.of(item), key);
    members.push_back(std::move(member));
  }
}

// ---- the whole

/// Reads one source: a file, a text or all --set. What it extends is read by readers of its own and then inherited.
class Reader {
 public:
  Reader() = default;

  void add_file(const std::string& file, const std::optional<Place>& extended_at = std::nullopt);
  void add_text(const std::string& text, const std::string& name);
  void add_overrides(const std::vector<std::string>& overrides);
  /// Takes over what `base` has read. Later bases override earlier ones.
  void inherit(const Reader& base);
  /// The checked config. `name`: the place of what is written nowhere.
  Config finish(const std::string& name) const;

 private:
  explicit Reader(std::vector<fs::path> open) : open_(std::move(open)) {}

  void add_map(const YAML::Node& map, const std::string& prefix, const Place& place);
  void add_key(const std::string& path, const YAML::Node& value, const Place& place);
  void add_bases(const YAML::Node& bases, const std::string& file, const Place& place);
  void settle();
  bool drop_one_without_effect();
  Config build() const;
  const Entry* find(std::string_view key) const;

  Entries entries_;
  std::vector<fs::path> open_;  // this file and those that extend it
  int num_bases_ = 0;
};

/// Only notes where a document begins.
class DocumentStart final : public YAML::EventHandler {
 public:
  int line = 0;

 private:
  void OnDocumentStart(const YAML::Mark& mark) override { line = mark.line + 1; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

/// The one document of `text`; null if it is empty.
YAML::Node parse_yaml(const std::string& text, const Place& place) {
  const auto at_line = [&](int line) { return place.line > 0 ? Place{place.source, std::max(line, 1)} : place; };
  try {
    const YAML::Node document = YAML::Load(text);
    // Load() is silent about what follows the first document, and LoadAll() does not end on a stray comma.
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStart start;
    if (parser.HandleNextDocument(start) && parser.HandleNextDocument(start))
      refuse(at_line(start.line).text() +
             ": not valid YAML: a stray character or a second document follows; remove it");
    return document;
  } catch (const YAML::Exception& error) {
    refuse(at_line(error.mark.line + 1).text() + ": not valid YAML: " + error.msg +
           "; a text with special characters needs quotes");
  }
}

void Reader::add_file(const std::string& file, const std::optional<Place>& extended_at) {
  const auto fail = [&](const std::string& what) {
    refuse(extended_at ? fmt::format("{}: extends: {}: {}", extended_at->text(), file, what) : file + ": " + what);
  };
  std::error_code error;
  if (!fs::exists(file, error))
    fail("no such file; the path is relative to the " +
         std::string(extended_at ? "file that extends it" : "current folder"));
  if (fs::is_directory(file, error)) fail("is a folder, not a config file");
  const fs::path canonical = fs::weakly_canonical(file, error);
  if (std::find(open_.begin(), open_.end(), canonical) != open_.end())
    fail("extends this file in turn; a chain of files must end");
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in) fail("cannot be read");

  open_.push_back(canonical);
  add_text(text, file);
}

void Reader::add_text(const std::string& text, const std::string& name) {
  const Place top{name, 1};
  const YAML::Node document = parse_yaml(text, top);
  if (!document.IsNull()) {
    if (!document.IsMap())
      refuse(top.of(document).text() + ": the file must be a map of keys, e.g. train: {steps: 100}");
    for (const auto& pair : document)
      if (pair.first.IsScalar() && pair.first.Scalar() == "extends") add_bases(pair.second, name, top.of(pair.first));
    add_map(document, "", top);
  }
  settle();
}

void Reader::add_bases(const YAML::Node& bases, const std::string& file, const Place& place) {
  if (open_.empty()) refuse(place, "extends", "cannot stand in a resolved config");
  const auto add = [&](const YAML::Node& base) {
    if (!base.IsScalar())
      refuse(place, "extends", "must be a file, or a list of files: later ones override earlier ones");
    Reader reader(open_);
    reader.add_file((fs::path(file).parent_path() / base.Scalar()).lexically_normal().string(), place);
    inherit(reader);
  };
  if (!bases.IsSequence()) return add(bases);
  if (bases.size() == 0) refuse(place, "extends", "names no file; remove it");
  for (const YAML::Node& base : bases) add(base);
}

void Reader::inherit(const Reader& base) {
  for (const auto& [key, entry] : base.entries_)
    entries_.insert_or_assign(key, Entry{entry.value, entry.place, num_bases_});
  ++num_bases_;
}

void Reader::add_overrides(const std::vector<std::string>& overrides) {
  for (const std::string& override : overrides) {
    const Place place{"--set " + override};
    const std::size_t equals = override.find('=');
    if (equals == 0 || equals == std::string::npos) refuse(place.text() + ": must be key=value, e.g. train.steps=100");
    add_key(override.substr(0, equals), parse_yaml(override.substr(equals + 1), place), place);
  }
  settle();
}

void Reader::add_map(const YAML::Node& map, const std::string& prefix, const Place& place) {
  std::map<std::string, Place> seen;
  for (const auto& pair : map) {
    const YAML::Node &key = pair.first, &value = pair.second;
    const Place at = place.of(key);
    if (!key.IsScalar()) refuse(at.text() + ": a key must be one word");
    const std::string path = prefix.empty() ? key.Scalar() : prefix + "." + key.Scalar();
    const auto [first, is_new] = seen.emplace(path, at);
    if (!is_new) refuse(at, path, fmt::format("is given twice, first at {}; keep one", first->second.text()));
    if (path == "extends") continue;
    if (key.Scalar().find('.') != std::string::npos && place.line > 0)
      refuse(at, path, "unknown key; dotted keys are for --set, in a file keys are nested");
    add_key(path, value, at);
  }
}

void Reader::add_key(const std::string& path, const YAML::Node& value, const Place& place) {
  const SchemaKey* key = find_key(path);
  if (key == nullptr) {
    // The first part that is wrong is what to talk about: "trian" of trian.steps.
    std::string known = path;
    while (find_key(known) == nullptr && !parent_of(known).empty() && find_key(parent_of(known)) == nullptr)
      known = parent_of(known);
    if (const SchemaKey* leaf = find_key(parent_of(known)); leaf != nullptr && !leaf->is_section)
      refuse(place, known, fmt::format("unknown key; {} is a value and has no keys", leaf->path));
    refuse(place, known, "unknown key; " + suggest_key(known));
  }
  if (!key->is_section) {
    entries_.insert_or_assign(path, Entry{value, place, kOwn});
    return;
  }
  if (value.IsNull()) refuse(place, path, "has no value; it is a map of keys, give one or remove it");
  if (!value.IsMap()) {
    const std::string what =
        value.IsScalar() ? quoted(value.Scalar()) + " is not a map" : "is a list, but must be a map";
    refuse(place, path, what + " of keys");
  }
  add_map(value, path, place);
}

/// Drops what is inherited and useless here, and refuses what is useless where it stands.
void Reader::settle() {
  for (const auto& [key, other] : kAlternatives) {
    const Entry *a = find(key), *b = find(other);
    if (a == nullptr || b == nullptr) continue;
    if (a->source == b->source)
      refuse(b->place, other, fmt::format("{} is given too ({}); keep one of them", key, a->place.text()));
    entries_.erase(entries_.find(a->source < b->source ? key : other));
  }
  while (drop_one_without_effect()) continue;  // what is dropped may be the choice that another key hangs on
}

bool Reader::drop_one_without_effect() {
  const Config config = build();
  for (const Condition& condition : kConditions) {
    const Entry* entry = find(condition.key);
    if (entry == nullptr || condition.holds(config)) continue;
    if (entry->source == kOwn) {
      const Entry* choice = find(condition.choice);
      refuse(entry->place, condition.key,
             fmt::format("{} ({}: {}); remove it, or change {}", condition.otherwise, condition.choice,
                         choice == nullptr ? "the default" : choice->place.text(), condition.choice));
    }
    entries_.erase(entries_.find(condition.key));
    return true;
  }
  return false;
}

Config Reader::build() const {
  Config config;
  walk(config, [&]<class T>(const std::string& path, T& member, const char*) {
    if constexpr (!Section<T>)
      if (const Entry* entry = find(path)) read_value(member, entry->value, entry->place, path);
  });
  return config;
}

const Entry* Reader::find(std::string_view key) const {
  const auto at = entries_.find(key);
  return at == entries_.end() ? nullptr : &at->second;
}

Config Reader::finish(const std::string& name) const {
  Config config = build();
  const std::string problem = problem_of(config);
  if (problem.empty()) return config;
  const Entry* culprit = find(problem.substr(0, problem.find(": ")));
  refuse((culprit == nullptr ? name : culprit->place.text()) + ": " + problem);
}

}  // namespace

Config read_config(const std::string& file, const std::vector<std::string>& overrides) {
  Reader base, reader;
  base.add_file(file);
  reader.inherit(base);
  reader.add_overrides(overrides);
  return reader.finish(file);
}

Config read_config_text(const std::string& text, const std::string& name, const std::vector<std::string>& overrides) {
  Reader base, reader;
  base.add_text(text, name);
  reader.inherit(base);
  reader.add_overrides(overrides);
  return reader.finish(name);
}

}  // namespace spikesink
