#pragma once
#include <cstdint>

namespace spikesink {

/// What ranks tell each other after every step.
struct StepNews {
  double seconds;         ///< that it took
  double busy_seconds;    ///< of these, in which the rank did not wait for others
  double data_seconds;    ///< of these, in which it waited for its samples
  std::uint32_t samples;  ///< identity of those that it took: see identity_of()
  bool stop;              ///< it was asked to
};

/// Seconds of a rank's steps, those in which it did not wait for others, and those in which it waited for its samples.
struct Busy {
  double seconds = 0, busy = 0, data = 0;
  double share() const { return seconds > 0 ? busy / seconds : 0; }
  double data_share() const { return seconds > 0 ? data / seconds : 0; }
};

}  // namespace spikesink
