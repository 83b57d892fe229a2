#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/core/device.h"

namespace spikesink {

/// A caching allocator. Blocks are rounded up, to an eighth of a power of two in host memory and to 2 MiB (small ones
/// to 512 bytes) on a GPU, and kept for reuse, since a training step asks for the same sizes again and again. 64-byte
/// aligned. Blocks may outlive the Pool object and are freed with the last of them. Thread-safe.
///
/// A pool of device memory belongs to one CUDA stream: a block that is given back is handed out again at once, since
/// what uses it next runs after what used it last. Under emulation its blocks are exact and not kept, so that
/// AddressSanitizer sees an access past a tensor's end or after its life; the counts are the same.
class Pool {
 public:
  Pool();  ///< host memory
  /// Device memory of a CUDA stream. With `recorded` its blocks are kept under emulation too, as recorded kernels need.
  explicit Pool(std::shared_ptr<void> native_stream, bool recorded = false);
  /// Counts only: blocks of a pool of `device` that have addresses and no memory. A read of them is a fault.
  static std::shared_ptr<Pool> dry(Device device);

  Device device() const;

  /// `bytes` of uninitialised memory; goes back to the pool with the last copy of the pointer. Throws std::bad_alloc,
  /// on CUDA CudaOutOfMemory.
  std::shared_ptr<std::byte> allocate(std::int64_t bytes);

  std::int64_t live_bytes() const;      ///< in use now, after rounding
  std::int64_t peak_bytes() const;      ///< highest live_bytes() since the last reset_peak()
  std::int64_t reserved_bytes() const;  ///< taken from the system: in use or kept for reuse
  void reset_peak();
  void release_cached();  ///< gives unused blocks back to the system

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace spikesink
