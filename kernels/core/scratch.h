#pragma once
#include <cstddef>
#include <cstdint>

namespace spikesink::kernels {

/// What `n` elements of T take of a kernel's scratch: rounded up, so that what lies behind them is aligned.
template <class T>
constexpr std::int64_t scratch_bytes(std::int64_t n) {
  return (n * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
}

/// Bytes that a kernel needs while it runs, by device. Declared by the op, allocated by dispatch(), so that kernels
/// allocate nothing and a dry run counts what a real one takes.
struct ScratchBytes {
  std::int64_t cpu = 0, cuda = 0;
};

/// That memory, uninitialised, handed out piece by piece: the pieces that were counted, in any order.
class Scratch {
 public:
  explicit Scratch(std::byte* begin) : at_(begin) {}
  template <class T>
  T* take(std::int64_t n) {
    T* const piece = reinterpret_cast<T*>(at_);
    at_ += scratch_bytes<T>(n);
    return piece;
  }

 private:
  std::byte* at_;
};

}  // namespace spikesink::kernels
