#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace spikesink {

/// Named scalars in the order in which they are logged.
using Scalars = std::vector<std::pair<std::string, double>>;

/// What the loop knows of measuring a model: it says when, and logs the scalars that come back.
class Probe {
 public:
  virtual ~Probe() = default;
  /// Measures the model after `step` steps and writes the figures by block and head to `file` (.h5), whole or not at
  /// all; to none if that is empty. Of many ranks all measure the same.
  virtual Scalars measure(std::int64_t step, const std::string& file) = 0;
};

}  // namespace spikesink
