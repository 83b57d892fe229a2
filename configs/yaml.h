#pragma once
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "configs/scalars.h"
#include "configs/schema.h"
#include "io/failure.h"

// Strict reading of YAML, for configs and sweeps: what both say of a wrong file, key or value. Of this part only.
namespace spikesink {

/// A line of a file, or one `--set`: what messages begin with.
struct Place {
  std::string source;  ///< "tiny.yaml" or "--set key=value"
  int line = 0;        ///< 1-based; 0 for --set
  std::string part;    ///< of what the line speaks, "row sandwich"; mostly empty

  std::string at() const { return line > 0 ? fmt::format("{}:{}", source, line) : source; }
  std::string text() const { return part.empty() ? at() : at() + ": " + part; }
  /// Where `node` begins, if it has a line of its own.
  Place of(const YAML::Node& node) const { return line > 0 ? Place{source, node.Mark().line + 1, part} : *this; }
  /// The folder that paths written here are relative to; empty: the current one.
  std::filesystem::path folder() const {
    return line > 0 ? std::filesystem::path(source).parent_path() : std::filesystem::path();
  }
};

/// A UsageError.
[[noreturn]] void refuse(const std::string& message);
[[noreturn]] void refuse(const Place& place, std::string_view key, std::string_view what);

/// A value and where it was written.
struct Written {
  YAML::Node value;
  Place place;
};

/// Where a file was named, for the message if there is none.
struct Mention {
  Place place;
  std::string key;          ///< "extends"
  std::string relative_to;  ///< "file that extends it"
};

/// Files that are being read for one that was named.
struct FileChain {
  std::vector<std::filesystem::path> chain;  ///< the one that is being read and those that extend it
  int num_read = 0;                          ///< so far, a file as often as it is named
};

/// The text of a `kind` ("config") file, which is added to `open`; refused if it is in the chain already, or if too
/// many have been read.
std::string open_yaml(const std::string& file, const std::string& kind, const std::optional<Mention>& mention,
                      FileChain& open);

/// The one document of `text`; null if it is empty.
YAML::Node parse_yaml(const std::string& text, const Place& place);

/// The keys of a map, each one word and there once, with their values. `prefix`: the map's own path, for messages.
std::vector<std::pair<std::string, Written>> keys_of(const YAML::Node& map, const std::string& prefix,
                                                     const Place& place);

/// The value of the key `extends` of a document; null if there is none.
std::optional<Written> extends_of(const YAML::Node& document, const Place& top);

/// The files that `extends` names: one, or a list.
std::vector<std::string> bases_of(const Written& extends);

/// "train.steps=100", as `--set` gives it, as key and value.
std::pair<std::string, Written> parse_override(const std::string& text);

/// The value in YAML's flow form, on one line: 8, [0.9, 0.95].
std::string flow_of(const YAML::Node& value);

/// What to say of a key that is none of `known`: "did you mean time?", or all of them.
std::string suggest_of(std::string_view word, const std::vector<std::string_view>& known);

/// Refuses a value that is not a map; "a list" and so on are named.
void require_map(const YAML::Node& value, const Place& place, const std::string& key);

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
  // Texts go into names of files, scripts, tables and messages, where a line break would begin something else.
  if constexpr (std::is_same_v<T, std::string>)
    if (one_line(text) != text) refuse(place, key, "must be one line of UTF-8 without control characters");
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

}  // namespace spikesink
