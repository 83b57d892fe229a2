#include "analysis/study/results.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace spikesink {

void Results::array(std::string name, Values values, std::vector<std::int64_t> dims, std::string unit,
                    std::string meaning) {
  std::int64_t count = 1;
  for (const std::int64_t dim : dims) count *= dim;
  const std::size_t size = std::visit([](const auto& v) { return v.size(); }, values);
  require(static_cast<std::size_t>(count) == size, "results: ", name, " has ", size, " values for ", count, " places");
  arrays_.push_back({std::move(name), std::move(values), std::move(dims), std::move(unit), std::move(meaning)});
}

const Results::Array& Results::at(const std::string& name) const {
  const auto found = std::ranges::find(arrays_, name, &Array::name);
  require(found != arrays_.end(), "results: no array ", name);
  return *found;
}

}  // namespace spikesink
