#include "configs/schema.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace spikesink {
namespace {

/// Levenshtein distance.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

/// The distance if it is that of a slip of the fingers: up to two letters in a short word, a third of a long one.
std::optional<std::size_t> slip(std::string_view word, std::string_view name) {
  const std::size_t distance = edit_distance(word, name);
  const std::size_t longest = std::max(word.size(), name.size());
  if (distance >= longest || distance > std::max<std::size_t>(2, longest / 3)) return std::nullopt;
  return distance;
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

const std::vector<SchemaKey>& schema_keys() {
  static const std::vector<SchemaKey> keys = [] {
    std::vector<SchemaKey> all;
    Config config;
    walk(config, [&](const std::string& path, auto& member, const char*) {
      all.push_back({path, Section<std::remove_reference_t<decltype(member)>>});
    });
    return all;
  }();
  return keys;
}

const SchemaKey* find_key(std::string_view path) {
  const auto& keys = schema_keys();
  const auto at = std::find_if(keys.begin(), keys.end(), [&](const SchemaKey& key) { return key.path == path; });
  return at == keys.end() ? nullptr : &*at;
}

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('.') + 1); }

std::string_view parent_of(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

std::string suggest_key(std::string_view unknown_path) {
  const std::string_view word = name_of(unknown_path), parent = parent_of(unknown_path);
  const SchemaKey* best = nullptr;
  std::size_t best_cost = 0;
  std::string here;
  for (const SchemaKey& key : schema_keys()) {
    const bool is_sibling = parent_of(key.path) == parent;
    if (is_sibling) here += (here.empty() ? "" : ", ") + std::string(name_of(key.path));
    const auto distance = slip(word, name_of(key.path));
    if (!distance || (!is_sibling && *distance > 1)) continue;
    // A key of the same map goes first at equal distance + 1, then one that lies near in the tree.
    const std::size_t cost = 1000 * (2 * *distance + (is_sibling ? 0 : 3)) - common_prefix(key.path, unknown_path);
    if (best == nullptr || cost < best_cost) best = &key, best_cost = cost;
  }
  if (best == nullptr) return "the keys here are " + here;
  return "did you mean " + std::string(parent_of(best->path) == parent ? name_of(best->path) : best->path) + "?";
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& names) {
  std::string_view best;
  std::size_t best_distance = 0;
  for (const std::string_view name : names)
    if (const auto distance = slip(word, name); distance && (best.empty() || *distance < best_distance))
      best = name, best_distance = *distance;
  return best;
}

}  // namespace spikesink
