#include "configs/resume.h"

#include <algorithm>
#include <string_view>

#include "configs/writer.h"

namespace spikesink {
namespace {

// Everything else (length, learning rate, micro-batch, device, logging, probes) leaves past samples as they were.
constexpr std::string_view kFixed[] = {"model.", "data.",
                                       "run.seed:", "train.batch_tokens:", "train.loss_from_position:"};
// Only where the files are, what is held to be too broken, and who reads may differ: the loader knows the data by its
// fingerprint.
constexpr std::string_view kFree[] = {"data.train:", "data.tokenizer:", "data.max_bad_share:", "data.threads:"};

bool begins_with_any(std::string_view line, auto& prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return line.starts_with(prefix); });
}

}  // namespace

std::vector<std::string> changes_of_past_samples(const Config& before, const Config& after) {
  std::vector<std::string> changes = config_difference(before, after);
  std::erase_if(changes,
                [](const std::string& line) { return !begins_with_any(line, kFixed) || begins_with_any(line, kFree); });
  return changes;
}

}  // namespace spikesink
