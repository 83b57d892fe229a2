#include "data/store/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "io/atomic_file.h"

namespace spikesink {
namespace {
using Json = nlohmann::ordered_json;

std::string shard_difference(const Json& before, const Json& now) {
  if (before.size() != now.size()) return fmt::format("{} shards, not {}", before.size(), now.size());
  const auto name = [](const Json& shard) {
    return fmt::format("{} of {} bytes", shard.at(0).dump(), shard.at(1).dump());
  };
  for (std::size_t i = 0; i < now.size(); ++i)
    if (before[i] != now[i]) return fmt::format("shard {}, not {}", name(before[i]), name(now[i]));
  return "other shards";
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

std::string plan_text(const Manifest& m) {
  Json shards = Json::array();
  for (const StoreFile& file : m.files) shards.push_back({file.source, file.source_bytes});
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(); };
  return Json{{"tokenizer", m.tokenizer},
              {"vocab_size", m.vocab_size},
              {"holdout", m.holdout},
              {"min_bytes", or_null(m.min_bytes)},
              {"max_bytes", or_null(m.max_bytes)},
              {"deduplicated", m.deduplicated},
              {"pad", or_null(m.pad)},
              {"shards", shards}}
             .dump(1, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

std::string tokenizer_of_plan(const std::string& plan) {
  const Json json = Json::parse(plan, nullptr, false);
  const auto name = json.is_object() ? json.find("tokenizer") : json.end();
  return json.is_object() && name != json.end() && name->is_string() ? name->get<std::string>() : std::string();
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
