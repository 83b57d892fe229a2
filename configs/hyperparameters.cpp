#include "configs/hyperparameters.h"

#include <algorithm>
#include <string_view>
#include <type_traits>

#include "configs/rules.h"
#include "configs/schema.h"

namespace spikesink {
namespace {

constexpr std::string_view kParts[] = {"model.", "data.", "train."};
constexpr std::string_view kKeys[] = {"run.seed", "system.precision", "system.state_precision",
                                      "system.reduce_precision"};
// What stops a run says nothing of its figures, nor do those that read its data.
constexpr std::string_view kLeftOut[] = {"data.max_bad_share", "data.threads", "train.on_divergence",
                                         "train.max_divergences"};

bool decides_figures(std::string_view key) {
  const auto is_key = [key](std::string_view other) { return key == other; };
  if (std::ranges::any_of(kLeftOut, is_key)) return false;
  return std::ranges::any_of(kKeys, is_key) ||
         std::ranges::any_of(kParts, [key](std::string_view part) { return key.starts_with(part); });
}

template <class T>
void add(Hyperparameters& to, const std::string& key, const T& value, bool absent_too) {
  if constexpr (requires { value.has_value(); }) {
    if (value || absent_too) add(to, key, value.value_or(typename T::value_type{}), absent_too);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    const std::string one = key.ends_with('s') ? key.substr(0, key.size() - 1) : key;
    for (std::size_t i = 0; i < value.size(); ++i) add(to, one + std::to_string(i + 1), value[i], absent_too);
  } else if constexpr (std::is_same_v<T, bool>) {
    to.push_back({key, value});
  } else if constexpr (std::is_arithmetic_v<T>) {
    to.push_back({key, static_cast<double>(value)});
  } else if constexpr (std::is_same_v<T, std::string>) {
    to.push_back({key, value});
  } else if constexpr (std::is_enum_v<T>) {
    to.push_back({key, std::string(names_of(value)[static_cast<std::size_t>(value)])});
  }
}

Hyperparameters list(Config config, bool absent_too) {
  Hyperparameters all;
  walk(config, [&](const std::string& key, auto& value, const char*) {
    if (decides_figures(key) && (absent_too || has_effect(config, key))) add(all, key, value, absent_too);
  });
  return all;
}

}  // namespace

Hyperparameters hyperparameters_of(const Config& config) { return list(config, false); }

std::vector<std::string> hyperparameter_names() {
  std::vector<std::string> names;
  for (const Hyperparameter& one : list(Config{}, true)) names.push_back(one.name);
  return names;
}

}  // namespace spikesink
