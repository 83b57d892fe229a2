#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace spikesink {

/// Adds up how long one thread stood still for others.
struct WaitClock {
  double seconds = 0;

  /// Waits with `lock` held until `ready()`, on a condition that is told of each change.
  void until(auto&& ready, std::condition_variable_any& changed, std::unique_lock<std::mutex>& lock) {
    if (ready()) return;
    const auto begin = std::chrono::steady_clock::now();
    changed.wait(lock, ready);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
};

}  // namespace spikesink
