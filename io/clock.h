#pragma once
#include <chrono>

namespace spikesink {

/// Seconds since 1970, UTC.
inline double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace spikesink
