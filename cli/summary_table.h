#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace spikesink::cli {

/// The summaries of analyses as rows of "analysis, figure, value" on the terminal. A map of single values, as quartiles
/// are, is one row.
class SummaryTable {
 public:
  void add(const std::string& analysis, const nlohmann::ordered_json& summary);
  void print() const;

 private:
  struct Row {
    std::string analysis, figure, value;
  };
  void add_figures(const std::string& analysis, const std::string& figure, const nlohmann::ordered_json& value);

  std::vector<Row> rows_;
};

}  // namespace spikesink::cli
