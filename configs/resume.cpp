#include "configs/resume.h"

#include <algorithm>
#include <string_view>

#include "configs/writer.h"

namespace spikesink {
namespace {

// Everything else (length, learning rate, micro-batch, device, logging, probes) leaves past samples as they were.
constexpr std::string_view kFixed[] = {"model.", "data.",
                                       "run.seed:", "train.batch_tokens:", "train.loss_from_position:"};
bool begins_with_any(std::string_view line, auto& prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return line.starts_with(prefix); });
}

}  // namespace

bool leaves_samples(std::string_view change) {
  constexpr std::string_view kKeys[] = {"data.train:", "data.tokenizer:", "data.max_bad_share:", "data.threads:"};
  return begins_with_any(change, kKeys);
}

std::vector<std::string> changes_of_past_samples(const Config& before, const Config& after) {
  std::vector<std::string> changes = config_difference(before, after);
  std::erase_if(changes,
                [](const std::string& line) { return !begins_with_any(line, kFixed) || leaves_samples(line); });
  return changes;
}

}  // namespace spikesink
