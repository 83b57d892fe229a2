#include "kernels/core/pool.h"

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

/// The next multiple of an eighth of the power of two below: at most 12.5 % is lost.
std::int64_t rounded(std::int64_t bytes) {
  const auto floor = std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 1)));
  const auto unit = std::max<std::int64_t>(static_cast<std::int64_t>(floor) / 8, 64);
  return (bytes + unit - 1) / unit * unit;
}
}  // namespace

struct Pool::State {
  std::shared_ptr<void> stream;  // null: host memory
  std::mutex mutex;
  std::map<std::int64_t, std::vector<std::byte*>> cached;  // by size
  std::int64_t live = 0, peak = 0;

  ~State() { release(); }

  std::byte* from_system(std::int64_t bytes) const {
    if constexpr (kHasCuda) {
      if (stream) return gpu::allocate(stream.get(), bytes);
    }
    return static_cast<std::byte*>(::operator new(static_cast<std::size_t>(bytes), kAlignment));
  }
  void to_system(std::byte* block) const {
    if constexpr (kHasCuda) {
      if (stream) return gpu::release(stream.get(), block);
    }
    ::operator delete(block, kAlignment);
  }
  bool keeps_blocks() const { return !(kCudaEmulated && stream); }

  void release() {
    for (auto& [size, blocks] : cached)
      for (std::byte* block : blocks) to_system(block);
    cached.clear();
  }
};

Pool::Pool() : state_(std::make_shared<State>()) {}
Pool::Pool(std::shared_ptr<void> native_stream) : Pool() { state_->stream = std::move(native_stream); }

Device Pool::device() const { return state_->stream ? Device::kCuda : Device::kCpu; }

std::shared_ptr<std::byte> Pool::allocate(std::int64_t bytes) {
  const std::int64_t size = rounded(bytes);
  std::byte* block = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    if (auto& blocks = state_->cached[size]; !blocks.empty()) {
      block = blocks.back();
      blocks.pop_back();
    } else {
      block = state_->from_system(state_->keeps_blocks() ? size : std::max<std::int64_t>(bytes, 1));
    }
    state_->live += size;
    state_->peak = std::max(state_->peak, state_->live);
  }  // unlocked here: a pointer that finds no memory for its count gives the block back at once
  return {block, [state = state_, size](std::byte* p) {
            const std::lock_guard back(state->mutex);
            if (state->keeps_blocks())
              state->cached[size].push_back(p);
            else
              state->to_system(p);
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
void Pool::reset_peak() {
  const std::lock_guard lock(state_->mutex);
  state_->peak = state_->live;
}
void Pool::release_cached() {
  const std::lock_guard lock(state_->mutex);
  state_->release();
}

}  // namespace spikesink
