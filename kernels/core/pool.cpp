#include "kernels/core/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "kernels/core/gpu.h"

namespace spikesink {
namespace {
constexpr std::align_val_t kAlignment{64};
constexpr std::int64_t kLarge = 2 << 20;

/// In host memory, where sizes differ from step to step, the next multiple of an eighth of the power of two below: at
/// most 12.5 % is lost. On a GPU, where they do not, what keeps addresses aligned.
std::int64_t rounded(std::int64_t bytes, Device device) {
  if (device == Device::kCuda) {
    const std::int64_t unit = bytes < kLarge ? 512 : kLarge;
    return (std::max<std::int64_t>(bytes, 1) + unit - 1) / unit * unit;
  }
  const auto floor = std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 1)));
  const auto unit = std::max<std::int64_t>(static_cast<std::int64_t>(floor) / 8, 64);
  return (bytes + unit - 1) / unit * unit;
}
}  // namespace

struct Pool::State {
  std::shared_ptr<void> stream;  // null: host memory
  Device device = Device::kCpu;
  bool dry = false, recorded = false;
  std::mutex mutex;
  std::map<std::int64_t, std::vector<std::byte*>> cached;  // by size; null: counted as kept, and gone
  std::int64_t live = 0, peak = 0, reserved = 0;

  ~State() { release(); }

  std::byte* from_system(std::int64_t bytes) const {
    if (dry) {  // addresses that are nobody else's and that nobody can read
      void* const block =
          mmap(nullptr, address_range(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (block == MAP_FAILED) throw std::bad_alloc();
      return static_cast<std::byte*>(block);
    }
    if constexpr (kHasCuda) {
      if (stream) return gpu::allocate(stream.get(), bytes);
    }
    return static_cast<std::byte*>(::operator new(static_cast<std::size_t>(bytes), kAlignment));
  }
  void to_system(std::byte* block, std::int64_t bytes) const {
    if (!block) return;
    if (dry) {
      munmap(block, address_range(bytes));
      return;
    }
    if constexpr (kHasCuda) {
      if (stream) return gpu::release(stream.get(), block);
    }
    ::operator delete(block, kAlignment);
  }
  static std::size_t address_range(std::int64_t bytes) {
    return static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  }
  bool keeps_blocks() const { return !(kCudaEmulated && stream) || recorded; }

  void release() {
    for (auto& [size, blocks] : cached) {
      for (std::byte* block : blocks) to_system(block, size);
      reserved -= size * static_cast<std::int64_t>(blocks.size());
    }
    cached.clear();
  }
};

Pool::Pool() : state_(std::make_shared<State>()) {}
Pool::Pool(std::shared_ptr<void> native_stream, bool recorded) : Pool() {
  state_->stream = std::move(native_stream);
  state_->device = Device::kCuda;
  state_->recorded = recorded;
}

std::shared_ptr<Pool> Pool::dry(Device device) {
  auto pool = std::make_shared<Pool>();
  pool->state_->device = device;
  pool->state_->dry = true;
  return pool;
}

Device Pool::device() const { return state_->device; }

std::shared_ptr<std::byte> Pool::allocate(std::int64_t bytes) {
  const std::int64_t size = rounded(bytes, state_->device);
  std::byte* block = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    auto& blocks = state_->cached[size];
    const bool reused = !blocks.empty();
    if (reused) block = blocks.back();
    if (!block) block = state_->from_system(state_->keeps_blocks() ? size : std::max<std::int64_t>(bytes, 1));
    if (reused)
      blocks.pop_back();
    else
      state_->reserved += size;
    state_->live += size;
    state_->peak = std::max(state_->peak, state_->live);
  }  // unlocked here: a pointer that finds no memory for its count gives the block back at once
  return {block, [state = state_, size](std::byte* p) {
            const std::lock_guard back(state->mutex);
            const bool kept = state->keeps_blocks();
            if (!kept) state->to_system(p, size);
            state->cached[size].push_back(kept ? p : nullptr);
            state->live -= size;
          }};
}

std::int64_t Pool::live_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->live;
}
std::int64_t Pool::peak_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->peak;
}
std::int64_t Pool::reserved_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->reserved;
}
void Pool::reset_peak() {
  const std::lock_guard lock(state_->mutex);
  state_->peak = state_->live;
}
void Pool::release_cached() {
  const std::lock_guard lock(state_->mutex);
  state_->release();
}

}  // namespace spikesink
