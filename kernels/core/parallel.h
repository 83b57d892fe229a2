#pragma once
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#include "kernels/core/stream.h"

namespace spikesink::kernels::cpu {

/// The first exception of a parallel region's threads, which no exception may leave by itself.
class FirstException {
 public:
  /// Calls f(), unless an exception is held already.
  template <class F>
  void guard(F&& f) noexcept {
    if (held_.test(std::memory_order_relaxed)) return;
    try {
      f();
    } catch (...) {
      if (!held_.test_and_set()) first_ = std::current_exception();
    }
  }
  /// To be called after the region.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::atomic_flag held_;
  std::exception_ptr first_;
};

/// Calls f(begin, end) on contiguous, equal parts of [0, n), one a thread; no part is shorter than `grain`, so that
/// small work stays on one thread. The split depends on n, grain and the number of threads only. The first exception
/// that f throws is thrown again after the last part.
template <class F>
void parallel_ranges(const Stream& stream, std::int64_t n, std::int64_t grain, F&& f) {
  require(stream.device == Device::kCpu, "a CPU kernel on a stream on ", name_of(stream.device));
  const std::int64_t parts = std::clamp<std::int64_t>(n / std::max<std::int64_t>(grain, 1), 1, stream.num_threads);
  if (parts == 1) {
    if (n > 0) f(std::int64_t{0}, n);
    return;
  }
  FirstException first;
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(parts))
  for (std::int64_t p = 0; p < parts; ++p) first.guard([&] { f(p * n / parts, (p + 1) * n / parts); });
  first.rethrow();
}

/// Calls f(i) for i in [0, n) on the stream's threads; tasks of uneven cost are taken as threads come free. Each task
/// must write memory of its own. The first exception that f throws is thrown again, and tasks not begun by then are
/// left out.
template <class F>
void parallel_tasks(const Stream& stream, std::int64_t n, F&& f) {
  require(stream.device == Device::kCpu, "a CPU kernel on a stream on ", name_of(stream.device));
  FirstException first;
#pragma omp parallel for schedule(dynamic, 1) num_threads(stream.num_threads) if (n > 1)
  for (std::int64_t i = 0; i < n; ++i) first.guard([&] { f(i); });
  first.rethrow();
}

}  // namespace spikesink::kernels::cpu
