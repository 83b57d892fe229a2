#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace spikesink {

/// A caching allocator. Blocks are rounded up to an eighth of a power of two and kept for reuse, since a training step
/// asks for the same sizes again and again. 64-byte aligned. Blocks may outlive the Pool object and are freed with the
/// last of them. Thread-safe.
class Pool {
 public:
  Pool();

  /// `bytes` of uninitialised memory; goes back to the pool with the last copy of the pointer. Throws std::bad_alloc.
  std::shared_ptr<std::byte> allocate(std::int64_t bytes);

  std::int64_t live_bytes() const;  ///< in use now, after rounding
  std::int64_t peak_bytes() const;  ///< highest live_bytes() since the last reset_peak()
  void reset_peak();
  void release_cached();  ///< gives unused blocks back to the system

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace spikesink
