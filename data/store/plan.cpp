#include "data/store/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <concepts>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "io/atomic_file.h"
#include "io/json_integer.h"

namespace spikesink {
namespace {
using Json = nlohmann::ordered_json;

std::string shard_difference(const Json& before, const Json& now) {
  if (before.size() != now.size()) return fmt::format("{} shards, not {}", before.size(), now.size());
  for (std::size_t i = 0; i < now.size(); ++i)
    if (before[i] != now[i]) return fmt::format("shard {}, not {}", before[i].dump(), now[i].dump());
  return "other shards";
}

/// A value of a plan; T() where the plan is damaged.
template <class T>
T value_of(const std::string& plan, const char* key) {
  const Json json = Json::parse(plan, nullptr, false);
  try {
    if constexpr (std::integral<T>)
      return integer_of<T>(json.at(key));
    else
      return json.at(key).get<T>();
  } catch (const Json::exception&) {
    return T();
  }
}
}  // namespace

std::vector<std::string> with_lists(const std::vector<std::string>& inputs) {
  std::vector<std::string> all;
  for (const std::string& input : inputs) {
    if (!input.starts_with('@')) {
      all.push_back(input);
      continue;
    }
    std::istringstream lines(read_file(input.substr(1)));
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) all.push_back(line);
    }
  }
  return all;
}

std::string plan_text(const Manifest& m, int comparisons) {
  Json shards = Json::array();
  for (const StoreFile& file : m.files) shards.push_back(file.source);
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(); };
  return Json{{"tokenizer", m.tokenizer},
              {"vocab_size", m.vocab_size},
              {"holdout", m.holdout},
              {"min_bytes", or_null(m.min_bytes)},
              {"max_bytes", or_null(m.max_bytes)},
              {"deduplicated", m.deduplicated},
              {"pad", or_null(m.pad)},
              {"comparisons", comparisons},
              {"shards", shards}}
             .dump(1, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

std::string tokenizer_of_plan(const std::string& plan) { return value_of<std::string>(plan, "tokenizer"); }
int comparisons_of_plan(const std::string& plan) { return value_of<int>(plan, "comparisons"); }

std::string size_difference(const Manifest& before, const Manifest& now) {
  for (std::size_t i = 0; i < now.files.size(); ++i)
    if (const StoreFile& a = before.files[i], &b = now.files[i]; a.source_bytes != b.source_bytes)
      return fmt::format("shard {} of {} bytes, not {}",
                         Json(a.source).dump(-1, ' ', false, Json::error_handler_t::replace), a.source_bytes,
                         b.source_bytes);
  return "";
}

std::string plan_difference(const std::string& before, const std::string& now) {
  const Json a = Json::parse(before, nullptr, false), b = Json::parse(now);
  try {
    for (const auto& [key, value] : b.items())
      if (a.at(key) != value)
        return key == "shards" ? shard_difference(a.at(key), value)
                               : fmt::format("{} {}, not {}", key, a.at(key).dump(), value.dump());
  } catch (const Json::exception&) {
  }
  return "another plan";
}

}  // namespace spikesink
