#include "configs/sweep_rows.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace spikesink {
namespace {

PaperFigures read_paper(const Written& written) {
  require_map(written.value, written.place, "paper");
  PaperFigures paper;
  std::vector<std::string_view> known;
  paper.fields([&](const char* name, auto&, const char*) { known.push_back(name); });
  for (const auto& [key, value] : keys_of(written.value, "paper", written.place)) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      refuse(value.place, "paper." + key, "unknown key; " + suggest_of(key, known));
    paper.fields([&, &key = key, &value = value](const char* name, auto& member, const char*) {
      if (key == name) read_value(member, value.value, value.place, "paper." + key);
      if (key == name && *member < 0) refuse(value.place, "paper." + key, "must not be negative");
    });
  }
  return paper;
}

WrittenRow read_row(const YAML::Node& node, const Place& rows) {
  const Place place = rows.of(node);
  if (!node.IsMap()) refuse(place, "rows", "a row must be a map of keys, e.g. {name: sandwich, config: sandwich.yaml}");
  WrittenRow row{place, {}, {}, {}, {}, {}};
  const YAML::Node& name = node["name"];
  if (!name.IsDefined()) refuse(place, "rows", "a row has no name; give it one, e.g. name: sandwich");
  read_value(row.name, name, place.of(name), "rows: name");
  if (!is_file_name(row.name))
    refuse(place.of(name), "rows: name",
           fmt::format("{} {}; a label may be any text", spikesink::quoted(row.name), kFileNameRule));
  row.label = row.name;
  row.place.part = "row " + row.name;
  for (const auto& [key, written] : keys_of(node, "", row.place)) {
    const auto& [value, at] = written;
    if (key == "name") continue;
    if (key == "label") {
      read_value(row.label, value, at, key);
    } else if (key == "config") {
      std::string file;
      read_value(file, value, at, key);
      if (file.empty()) refuse(at, key, "empty; name a config file, or remove the key");
      row.config = written;
    } else if (key == "set") {
      require_map(value, at, key);
      row.set.add_map(value, "", at);
      row.set.choose_alternatives();
      row.set.check_types();
    } else if (key == "paper") {
      row.paper = read_paper(written);
    } else if (find_key(key) != nullptr && parent_of(key).empty()) {
      refuse(at, key, fmt::format("is a key of a config; write set: {{{}: ...}}", key));
    } else {
      std::vector<std::string_view> known;
      for (const RowKey& known_key : kRowKeys) known.push_back(known_key.name);
      refuse(at, key, "unknown key; " + suggest_of(key, known));
    }
  }
  return row;
}

Axis read_axis(const std::string& key, const Written& written, const std::string& kind) {
  Axis axis{key, written.place, {}};
  axis.place.part = kind;
  const SchemaKey* known = find_key(key);
  if (known == nullptr) refuse(axis.place, key, "unknown axis; " + suggest_key(key));
  if (known->is_section)
    refuse(axis.place, key, "is a map of keys, but an axis is one key with dots, e.g. model.attention.d_head: [8, 16]");
  if (!written.value.IsSequence()) refuse(axis.place, key, "must be a list of the values that the key takes");
  if (written.value.size() == 0) refuse(axis.place, key, "names no value; remove the axis");
  if (written.value.size() > kMostRuns)
    refuse(axis.place, key, fmt::format("{} values, must be at most {}", written.value.size(), kMostRuns));
  std::map<std::string, Place> seen;
  for (const YAML::Node& value : written.value) {
    const Place at = axis.place.of(value);
    ConfigLayers probe;
    probe.add_key(key, value, at);
    probe.check_types();
    const auto [first, is_new] = seen.emplace(flow_of(value), at);
    if (!is_new)
      refuse(at, key, fmt::format("{} is given twice, first at {}; keep one", first->first, first->second.at()));
    axis.values.push_back({value, at});
  }
  return axis;
}

std::vector<Axis> read_axes_of(const SweepFile& file, const std::string& kind) {
  const Written* written = file.find(kind);
  if (written == nullptr) return {};
  require_map(written->value, written->place, kind);
  std::vector<Axis> axes;
  for (const auto& [key, values] : keys_of(written->value, kind, written->place))
    axes.push_back(read_axis(key, values, kind));
  return axes;
}

/// The last `count` words of a key with dots.
std::string last_words(std::string_view key, std::size_t count) {
  std::size_t at = key.size();
  while (count-- > 0 && at != std::string_view::npos && at > 0) at = key.rfind('.', at - 1);
  return std::string(at == std::string_view::npos ? key : key.substr(at + 1));
}

}  // namespace

std::vector<WrittenRow> read_rows(const SweepFile& file) {
  const Written* written = file.find("rows");
  if (written == nullptr) return {};
  const auto& [value, place] = *written;
  if (!value.IsSequence()) refuse(place, "rows", "must be a list, e.g. [{name: sandwich, config: sandwich.yaml}]");
  if (value.size() > kMostRuns)
    refuse(place, "rows", fmt::format("{} rows, must be at most {}", value.size(), kMostRuns));
  std::vector<WrittenRow> rows;
  for (const YAML::Node& node : value) rows.push_back(read_row(node, place));
  return rows;
}

Axes read_axes(const SweepFile& file) {
  Axes axes{read_axes_of(file, "zip"), read_axes_of(file, "grid")};
  for (const Axis& axis : axes.zip) {
    const Axis& first = axes.zip.front();
    if (axis.values.size() != first.values.size())
      refuse(axis.place, axis.key,
             fmt::format("{} long, but {} is {} ({}); zip takes the first value of each, then the second",
                         axis.values.size(), first.key, first.values.size(), first.place.at()));
    for (const Axis& other : axes.grid)
      if (other.key == axis.key)
        refuse(other.place, other.key, fmt::format("is an axis of zip too ({}); keep one", axis.place.at()));
  }
  return axes;
}

std::vector<std::vector<AxisValue>> Axes::combinations() const {
  std::vector<std::vector<AxisValue>> all;
  for (std::size_t i = 0; i < zip_size(); ++i) {
    all.emplace_back();
    for (const Axis& axis : zip) all.back().push_back({&axis, i});
  }
  for (const Axis& axis : grid) {
    std::vector<std::vector<AxisValue>> longer;
    for (const auto& combination : all)
      for (std::size_t i = 0; i < axis.values.size(); ++i) {
        longer.push_back(combination);
        longer.back().push_back({&axis, i});
      }
    all = std::move(longer);
  }
  return all;
}

std::vector<std::string> words_of(const Axes& axes) {
  std::vector<std::string> keys;
  for (const auto* group : {&axes.zip, &axes.grid})
    for (const Axis& axis : *group) keys.push_back(axis.key);
  std::vector<std::string> words;
  for (const std::string& key : keys) {
    std::size_t count = 1;
    const auto is_taken = [&] {
      return std::any_of(keys.begin(), keys.end(), [&](const std::string& other) {
        return other != key && last_words(other, count) == last_words(key, count);
      });
    };
    while (is_taken()) ++count;
    words.push_back(last_words(key, count));
  }
  return words;
}

std::string name_of_value(const YAML::Node& value) {
  constexpr const char* kEmpty = "none";
  if (value.IsSequence()) {
    std::vector<std::string> items;
    for (const YAML::Node& item : value) items.push_back(name_of_value(item));
    return items.empty() ? kEmpty : fmt::format("{}", fmt::join(items, "_"));
  }
  std::string name = value.IsScalar() ? value.Scalar() : "";
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !is_in_file_name(c); }, '_');
  return name.empty() ? kEmpty : name;
}

}  // namespace spikesink
