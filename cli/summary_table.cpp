#include "cli/summary_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace spikesink::cli {
namespace {

constexpr std::size_t kElements = 8;  // of a list that are shown

std::string text_of(const nlohmann::ordered_json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    return number == number ? fmt::format("{:.5g}", number) : "-";  // NaN, as JSON has it: null
  }
  if (value.is_object()) {
    std::string text;
    for (const auto& [key, part] : value.items()) {
      if (!text.empty()) text += ", ";
      text += key;
      text += " ";
      text += text_of(part);
    }
    return text;
  }
  if (!value.is_array()) return value.dump();
  if (value.empty()) return "none";
  std::string text;
  for (std::size_t i = 0; i < std::min(value.size(), kElements); ++i) {
    if (i > 0) text += " ";
    text += text_of(value[i]);
  }
  return value.size() > kElements ? fmt::format("{} ... ({} in all)", text, value.size()) : text;
}

}  // namespace

void SummaryTable::add(const std::string& analysis, const nlohmann::ordered_json& summary) {
  add_figures(analysis, "", summary);
}

void SummaryTable::add_figures(const std::string& analysis, const std::string& figure,
                               const nlohmann::ordered_json& value) {
  const bool of_maps =
      value.is_object() &&
      (figure.empty() || std::ranges::any_of(value, [](const auto& part) { return part.is_structured(); }));
  if (!of_maps) return rows_.push_back({analysis, figure, text_of(value)});
  for (const auto& [key, part] : value.items()) add_figures(analysis, figure.empty() ? key : figure + "." + key, part);
}

void SummaryTable::print() const {
  std::size_t widest = 0;
  for (const Row& row : rows_) widest = std::max(widest, row.figure.size());
  std::string last;
  for (const Row& row : rows_) {
    fmt::print("{:<16}{:<{}}  {}\n", row.analysis == last ? "" : row.analysis, row.figure, widest, row.value);
    last = row.analysis;
  }
}

}  // namespace spikesink::cli
