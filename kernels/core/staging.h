#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "kernels/core/gpu.h"
#include "kernels/core/stream.h"

namespace spikesink {

/// Host memory by which ids go to a stream's device, in two blocks that take turns. On CUDA it is pinned and the host
/// does not wait for the stream; a block is given out again only when its copies are done.
class Staging {
 public:
  explicit Staging(const Stream& stream) : stream_(stream) {}
  /// Waits for copies that are under way.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// A block of `count` ids to write to. Until the next call of this, parts of it can be uploaded.
  std::span<std::int32_t> next(std::int64_t count);
  /// A tensor (n) on the device with the ids of `part`, of what next() gave; they stay as they are until next() gives
  /// that block again.
  Tensor upload(std::span<const std::int32_t> part);

 private:
  struct Block {
    std::shared_ptr<std::byte> memory = {};
    std::int64_t bytes = 0;
    gpu::Event copied = {};  // CUDA: the last copy from it; null: none
  };
  void wait_for(Block& block) const;

  Stream stream_;
  std::array<Block, 2> blocks_;
  std::size_t current_ = 0;
};

}  // namespace spikesink
