#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "analysis/study/study.h"

// The arrays of what an analysis found.
namespace spikesink::test {

inline const std::vector<double>& doubles(const Results& results, const std::string& name) {
  return std::get<std::vector<double>>(results.at(name).values);
}
inline const std::vector<std::int64_t>& integers(const Results& results, const std::string& name) {
  return std::get<std::vector<std::int64_t>>(results.at(name).values);
}

}  // namespace spikesink::test
