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

}  // namespace spikesink
