#pragma once
#include <array>
#include <string_view>

#include "configs/config.h"

namespace spikesink {

/// Two keys that say the same thing: the one that was written later counts, and in one file only one may stand.
struct Alternative {
  std::string_view key, other;
};

inline constexpr std::array kAlternatives = {
    Alternative{"train.tokens", "train.steps"},
};

/// A key that counts only under a choice. Where the choice was written later than the key, the key is dropped: it was
/// inherited. Where key and choice stand in the same file, or the key was written later, it is refused.
struct Condition {
  std::string_view key, choice;
  bool (*holds)(const Config&);
  std::string_view otherwise;  ///< "has no effect ...", when it does not hold
};

inline constexpr std::array kConditions = {
    Condition{"data.holdout", "data.validation", [](const Config& c) { return c.data.validation.empty(); },
              "has no effect where data.validation names shards"},
    Condition{"train.schedule.min_ratio", "train.schedule.kind",
              [](const Config& c) { return c.train.schedule.kind != ScheduleKind::kConstant; },
              "has no effect with a constant schedule"},
    Condition{"train.schedule.decay_share", "train.schedule.kind",
              [](const Config& c) { return c.train.schedule.kind == ScheduleKind::kWsd; },
              "has an effect only with schedule kind wsd"},
};

/// False for a key whose condition does not hold: the resolved config does not have it.
inline bool has_effect(const Config& config, std::string_view key) {
  for (const Condition& condition : kConditions)
    if (condition.key == key && !condition.holds(config)) return false;
  return true;
}

}  // namespace spikesink
