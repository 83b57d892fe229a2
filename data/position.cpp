#include "data/position.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "io/failure.h"
#include "io/json_integer.h"

namespace spikesink {
namespace {
constexpr std::array kLaneColumns{"epoch", "shard", "line", "token", "window"};  // of a LaneState
}

std::string Position::to_json() const {
  auto rows = nlohmann::json::array();
  for (const LaneState& s : lanes) rows.push_back({s.epoch, s.shard, s.line, s.token, s.window});
  return nlohmann::json{
      {"step", step}, {"fingerprint", fingerprint}, {"lanes", {{"columns", kLaneColumns}, {"rows", rows}}}}
      .dump();
}

Position Position::from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    Position position;
    position.step = integer_of<std::int64_t>(json.at("step"));
    json.at("fingerprint").get_to(position.fingerprint);
    const auto& lanes = json.at("lanes");
    const auto& rows = lanes.at("rows");
    if (!rows.empty() && lanes.at("columns") != nlohmann::json(kLaneColumns))
      throw DataError(
          "the checkpoint's position in the shards is of another version of spikesink, which dealt documents to lanes "
          "in another way; go on with that version, or start a new run");
    for (const auto& row : rows) {
      const auto at = [&](std::size_t column) { return integer_of<std::int64_t>(row.at(column)); };
      position.lanes.push_back({at(0), at(1), at(2), at(3), at(4)});
    }
    return position;
  } catch (const nlohmann::json::exception&) {
    throw DataError("the checkpoint's position in the data cannot be read; resume from an older one");
  }
}

std::optional<std::string> tokenizer_of_position(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json::json_pointer name("/fingerprint/data.tokenizer");
  if (!json.is_object() || !json.contains(name) || !json[name].is_string()) return std::nullopt;
  return json[name];
}

Position furthest(const std::vector<Position>& positions) {
  Position all = positions.at(0);
  for (const Position& other : positions)
    for (std::size_t lane = 0; lane < all.lanes.size(); ++lane)
      if (other.lanes.at(lane).window > all.lanes[lane].window) all.lanes[lane] = other.lanes[lane];
  return all;
}

void damaged_position(const std::string& what) {
  throw DamagedPosition(fmt::format("the checkpoint's position in the data is damaged ({})", what));
}

void require_step(std::int64_t step, std::int64_t sequences) {
  constexpr std::int64_t kMost = std::int64_t{1} << 62;  // samples
  if (step < 0 || step > kMost / sequences) damaged_position(fmt::format("step {}", step));
}

std::optional<DataDifference> difference(const Fingerprint& then, const Fingerprint& now) {
  for (const auto& [key, value] : now) {
    const auto it = then.find(key);
    const std::string before = it == then.end() ? "not set" : it->second;
    const bool same = key == "data.tokenizer" ? names_same_tokenizer(before, value) : before == value;
    if (!same) return DataDifference{key + ":", before, value};
  }
  return std::nullopt;
}

void require_same_data(const Fingerprint& then, const Fingerprint& now) {
  if (const auto other = difference(then, now))
    throw DataError(
        fmt::format("{} is {}, but was {} when the checkpoint was written, so its samples cannot go on; set it back, "
                    "or start a new run",
                    other->what, other->now, other->then));
}

}  // namespace spikesink
