#pragma once
#include <cstdint>
#include <memory>

#include "kernels/core/gpu.h"
#include "kernels/core/stream.h"

namespace spikesink {

/// Kernels of a CUDA stream that were recorded once and are put into it again at the cost of a single launch. Their
/// arguments, with them all addresses, are those of the recording: whoever records keeps the tensors that go in and
/// out, and runs on a pool of its own (Stream::with_own_pool), in which nothing else lives.
class Graph {
 public:
  Graph() = default;
  explicit operator bool() const { return native_ != nullptr; }

  /// Records what `work()` puts into the stream, which does not run. It must not wait for the stream, and must find all
  /// blocks that it allocates in the pool: it has run before.
  template <class F>
  static Graph record(const Stream& stream, F&& work) {
    Graph graph;
    if constexpr (kHasCuda) {
      gpu::begin_recording(stream.native.get());
      try {
        work();
      } catch (...) {
        gpu::abandon_recording(stream.native.get());
        throw;
      }
      graph.native_ = gpu::end_recording(stream.native.get());
    }
    return graph;
  }
  void replay([[maybe_unused]] const Stream& stream) const {
    if constexpr (kHasCuda) {
      gpu::replay(stream.native.get(), native_.get());
      ++stream.libraries->get<Count>().replays;
    }
  }
  /// How often graphs were replayed on `stream` and its copies.
  static std::int64_t num_replays(const Stream& stream) { return stream.libraries->get<Count>().replays; }

 private:
  struct Count {
    std::int64_t replays = 0;
  };
  std::shared_ptr<void> native_;
};

}  // namespace spikesink
