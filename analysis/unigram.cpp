#include "analysis/unigram.h"

#include <cmath>
#include <map>

namespace spikesink {

double unigram_perplexity(std::span<const std::int32_t> samples, std::int64_t context,
                          std::int64_t loss_from_position) {
  const auto row = static_cast<std::size_t>(context + 1);
  std::map<std::int32_t, double> counts;
  double total = 0;
  for (std::size_t first = 0; first + row <= samples.size(); first += row)
    for (auto t = static_cast<std::size_t>(loss_from_position); t < row; ++t) {
      counts[samples[first + t]] += 1;
      total += 1;
    }
  double entropy = 0;
  for (const auto& [token, count] : counts) entropy -= count / total * std::log(count / total);
  return std::exp(entropy);
}

}  // namespace spikesink
