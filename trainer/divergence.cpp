#include "trainer/divergence.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace spikesink {

std::string Divergence::to_json() const {
  nlohmann::ordered_json line{{"step", step}, {"kind", kind}, {"loss", loss}, {"grad_norm", grad_norm}};
  if (!where.empty()) line["where"] = where;
  if (deviations > 0) line["deviations"] = deviations;
  line["samples"] = {{"data_step", data_step}, {"first", data_step * sequences}, {"count", sequences}};
  line["action"] = action;
  return line.dump();
}

std::optional<double> LossWatch::look(double loss) {
  if (threshold_ == 0) return std::nullopt;
  std::optional<double> found;
  if (losses_.size() >= kFewest) {
    double sum = 0, squares = 0;
    for (const double each : losses_) sum += each;
    const double n = static_cast<double>(losses_.size()), mean = sum / n;
    for (const double each : losses_) squares += (each - mean) * (each - mean);
    const double deviation = std::sqrt(squares / n), above = loss - mean;
    if (above > threshold_ * deviation && above > 0) found = above / deviation;
  }
  losses_.push_back(loss);
  if (losses_.size() > kWindow) losses_.pop_front();
  return found;
}

}  // namespace spikesink
