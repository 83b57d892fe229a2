#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

namespace spikesink {

/// What one analysis found: arrays for analysis.h5, in a group of the analysis's name, and a few figures for
/// summary.json.
class Results {
 public:
  using Values = std::variant<std::vector<double>, std::vector<std::int64_t>>;
  struct Array {
    std::string name;  ///< in the group; may have groups of its own
    Values values;
    std::vector<std::int64_t> dims;
    std::string unit;     ///< "1" where there is none
    std::string meaning;  ///< one line that begins with the dimensions: "(block, rank): ..."
  };

  /// The product of `dims` must be the number of values.
  void array(std::string name, Values values, std::vector<std::int64_t> dims, std::string unit, std::string meaning);
  const std::vector<Array>& arrays() const { return arrays_; }
  const Array& at(const std::string& name) const;  ///< ContractError if there is none

  nlohmann::ordered_json summary = nlohmann::ordered_json::object();

 private:
  std::vector<Array> arrays_;
};

}  // namespace spikesink
