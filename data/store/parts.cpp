#include "data/store/parts.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "data/store/manifest_json.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/json_integer.h"

namespace spikesink {

std::string Parts::record(std::int64_t shard) const { return fmt::format("{}/shard_{:08d}.json", path_, shard); }
std::string Parts::hashes(std::int64_t shard) const { return fmt::format("{}/hashes_{:08d}.bin", path_, shard); }
std::string Parts::duplicates(int comparison) const {
  return fmt::format("{}/duplicates_{:03d}.bin", path_, comparison);
}

std::string ShardRecord::to_json() const {
  return nlohmann::ordered_json{{"file", json_of(file)},  {"text_bytes", text_bytes}, {"lines", json_of(lines)},
                                {"too_short", too_short}, {"too_long", too_long},     {"duplicates", duplicates},
                                {"stamp", stamp}}
      .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

ShardRecord ShardRecord::read(const std::string& path) {
  const std::string text = read_file(path);
  try {
    const auto json = nlohmann::ordered_json::parse(text);
    return {store_file_of(json.at("file")),
            integer_of<std::int64_t>(json.at("text_bytes")),
            document_counts_of(json.at("lines")),
            integer_of<std::int64_t>(json.at("too_short")),
            integer_of<std::int64_t>(json.at("too_long")),
            integer_of<std::int64_t>(json.at("duplicates")),
            json.at("stamp")};
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: is damaged ({}); remove it, and its shard is prepared again", path, error.what()));
  }
}

}  // namespace spikesink
