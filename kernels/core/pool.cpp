#include "kernels/core/pool.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <vector>

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
  std::mutex mutex;
  std::map<std::int64_t, std::vector<std::byte*>> cached;  // by size
  std::int64_t live = 0, peak = 0;

  ~State() { release(); }

  void release() {
    for (auto& [size, blocks] : cached)
      for (std::byte* block : blocks) ::operator delete(block, kAlignment);
    cached.clear();
  }
};

Pool::Pool() : state_(std::make_shared<State>()) {}

std::shared_ptr<std::byte> Pool::allocate(std::int64_t bytes) {
  const std::int64_t size = rounded(bytes);
  std::byte* block = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    if (auto& blocks = state_->cached[size]; !blocks.empty()) {
      block = blocks.back();
      blocks.pop_back();
    } else {
      block = static_cast<std::byte*>(::operator new(static_cast<std::size_t>(size), kAlignment));
    }
    state_->live += size;
    state_->peak = std::max(state_->peak, state_->live);
  }  // unlocked here: a pointer that finds no memory for its count gives the block back at once
  return {block, [state = state_, size](std::byte* p) {
            const std::lock_guard back(state->mutex);
            state->cached[size].push_back(p);
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
