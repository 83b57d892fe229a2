#include "kernels/core/staging.h"

namespace spikesink {

Staging::~Staging() {
  try {
    for (Block& block : blocks_) wait_for(block);
  } catch (...) {  // what went wrong in the stream comes up where its results are asked for
  }
}

/// Nearly always the copies are long done: a step, at whose end the host has waited for its loss, lies between.
void Staging::wait_for([[maybe_unused]] Block& block) const {
  if constexpr (kHasCuda) {
    if (block.copied && !gpu::is_done(block.copied)) stream_.synchronize();
    block.copied = {};
  }
}

std::span<std::int32_t> Staging::next(std::int64_t count) {
  current_ = 1 - current_;
  Block& block = blocks_[current_];
  wait_for(block);
  const auto bytes = count * static_cast<std::int64_t>(sizeof(std::int32_t));
  if (block.bytes < bytes) {
    block = {};
    if constexpr (kHasCuda) {
      if (stream_.device == Device::kCuda && !stream_.dry) block.memory = gpu::pinned(bytes);
    }
    if (!block.memory) {
      const auto plain = std::make_shared<std::byte[]>(static_cast<std::size_t>(bytes));
      block.memory = {plain, plain.get()};
    }
    block.bytes = bytes;
  }
  return {reinterpret_cast<std::int32_t*>(block.memory.get()), static_cast<std::size_t>(count)};
}

Tensor Staging::upload(std::span<const std::int32_t> part) {
  [[maybe_unused]] Block& block = blocks_[current_];
  const auto bytes = std::as_bytes(part);
  require(bytes.empty() ||
              (bytes.data() >= block.memory.get() && bytes.data() + bytes.size() <= block.memory.get() + block.bytes),
          "Staging: an upload of what next() did not give");
  const Tensor t = stream_.empty({static_cast<std::int64_t>(part.size())}, DType::kI32);
  if (stream_.dry) return t;
  if constexpr (kHasCuda) {
    if (stream_.device == Device::kCuda) {
      gpu::copy_from_pinned(stream_.native.get(), t.raw(), bytes.data(), t.bytes());
      block.copied = gpu::record_moment(stream_.native.get());
      return t;
    }
  }
  stream_.upload(t, part.data());
  return t;
}

}  // namespace spikesink
