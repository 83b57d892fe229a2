#pragma once
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "configs/config.h"

namespace spikesink {

/// A struct whose fields() lists the keys of a map of the YAML file.
template <class T>
concept Section = requires(T& section) {
  section.fields([](auto&&...) {});
};

/// Calls visit(path, member, help) for every key in schema order, a section before its keys: "train", "train.tokens",
/// ... `section` is not const only because fields() serves readers too.
template <Section T, class Visit>
void walk(T& section, Visit&& visit, const std::string& prefix = "") {
  section.fields([&](const char* name, auto& member, const char* help) {
    const std::string path = prefix.empty() ? name : prefix + "." + name;
    visit(path, member, help);
    if constexpr (Section<std::remove_reference_t<decltype(member)>>) walk(member, visit, path);
  });
}

struct SchemaKey {
  std::string path;  ///< "train.optimizer.lr"
  bool is_section;
};

/// All keys in schema order.
const std::vector<SchemaKey>& schema_keys();

/// The key of that path, or null.
const SchemaKey* find_key(std::string_view path);

/// "train.optimizer.lr" -> "lr" and "train.optimizer".
std::string_view name_of(std::string_view path);
std::string_view parent_of(std::string_view path);

/// What to say of a path that is not in the schema: "did you mean d_hidden?" for a key of the same map, "did you mean
/// run.seed?" for one elsewhere, or else the keys of that map.
std::string suggest_key(std::string_view unknown_path);

/// The one of `names` that is nearest to `word`, or empty if none is near.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& names);

}  // namespace spikesink
