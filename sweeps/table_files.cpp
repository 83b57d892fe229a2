// CSV and JSON, for programs: all digits, units of metrics.jsonl, every key there whether it has a value or not.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sweeps/collect.h"

namespace spikesink {
namespace {
constexpr std::size_t kOfPaper = 3;  // the first of kCollected

/// RFC 4180.
std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string line_of(const std::vector<std::string>& cells) {
  std::string out;
  for (const std::string& cell : cells) {
    out += quoted(cell);
    out += &cell == &cells.back() ? '\n' : ',';
  }
  return out;
}

std::string shortest(double value) { return fmt::format("{}", value); }
}  // namespace

std::string csv_of(const CollectedSweep& sweep) {
  std::vector<std::string> axes;  // of all rows, which need not have the same
  for (const CollectedRow& row : sweep.rows)
    for (const auto& [key, value] : row.axes)
      if (std::ranges::find(axes, key) == axes.end()) axes.push_back(key);

  std::vector<std::string> head{"row", "label", "baseline", "seeds", "finished", "sink_judged_by"};
  for (std::size_t i = 0; i < std::size(kCollected); ++i) {
    const std::string name(kCollected[i]);
    for (const char* part : {"_mean", "_deviation", "_count"}) head.push_back(name + part);
    if (i >= kOfPaper) continue;
    for (const char* part : {"_paper", "_direction"}) head.push_back(name + part);
  }
  head.insert(head.end(), axes.begin(), axes.end());
  std::string out = line_of(head);

  for (const CollectedRow& row : sweep.rows) {
    std::vector<std::string> cells{row.name,
                                   row.label,
                                   row.name == sweep.baseline ? "1" : "0",
                                   std::to_string(row.seeds),
                                   std::to_string(row.runs.size()),
                                   sweep.sink_judged_by};
    for (std::size_t i = 0; i < std::size(kCollected); ++i) {
      const CollectedFigure& figure = row.figure(kCollected[i]);
      cells.push_back(figure.ours.count > 0 ? shortest(figure.ours.mean) : "");
      cells.push_back(figure.ours.count > 1 ? shortest(figure.ours.deviation) : "");
      cells.push_back(std::to_string(figure.ours.count));
      if (i >= kOfPaper) continue;
      cells.push_back(figure.paper ? shortest(*figure.paper) : "");
      cells.emplace_back(name_of(figure.direction));
    }
    for (const std::string& axis : axes) {
      const auto found = std::ranges::find(row.axes, axis, &std::pair<std::string, std::string>::first);
      cells.push_back(found == row.axes.end() ? "" : found->second);
    }
    out += line_of(cells);
  }
  return out;
}

std::string json_of(const CollectedSweep& sweep) {
  using Json = nlohmann::ordered_json;
  Json rows = Json::array();
  for (const CollectedRow& row : sweep.rows) {
    Json axes = Json::object(), figures = Json::object(), runs = Json::array();
    for (const auto& [key, value] : row.axes) axes[key] = value;
    for (const CollectedFigure& figure : row.figures) {
      const OverSeeds& o = figure.ours;
      figures[figure.name] = {{"count", o.count},
                              {"mean", o.count > 0 ? Json(o.mean) : Json()},
                              {"deviation", o.count > 1 ? Json(o.deviation) : Json()},
                              {"paper", figure.paper ? Json(*figure.paper) : Json()},
                              {"direction", name_of(figure.direction)}};
    }
    for (const CollectedRun& run : row.runs) {
      Json values = Json::object();
      for (const std::string_view name : kCollected) {
        const auto found = run.figures.find(name);
        values[std::string(name)] = found == run.figures.end() ? Json() : Json(found->second);
      }
      runs.push_back({{"name", run.name}, {"seed", run.seed}, {"figures", values}});
    }
    rows.push_back({{"name", row.name},
                    {"label", row.label},
                    {"axes", axes},
                    {"seeds", row.seeds},
                    {"runs", runs},
                    {"figures", figures}});
  }
  const Json out{
      {"format", 1},
      {"sweep", sweep.name},
      {"title", sweep.title},
      {"baseline", sweep.baseline},
      {"sink_judged_by", sweep.sink_judged_by.empty() ? Json() : Json(sweep.sink_judged_by)},
      {"scale",
       {{"parameters", sweep.scale.parameters}, {"tokens", sweep.scale.tokens}, {"context", sweep.scale.context}}},
      {"source", "arXiv:2603.05498"},
      {"rows", rows},
      {"notes", sweep.notes}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace spikesink
