#pragma once
#include <functional>
#include <memory>

#include "kernels/core/device.h"
#include "kernels/core/libraries.h"
#include "kernels/core/pool.h"
#include "kernels/core/tensor.h"

namespace spikesink {

/// What a dry stream's kernels would have done.
struct Work {
  double flops = 0;       ///< of matrix products and attention, a multiplication and an addition being two
  double sent_bytes = 0;  ///< to other ranks
  /// Counts what came since `before` as done `times` in all.
  void repeat(const Work& before, std::int64_t times) {
    flops += static_cast<double>(times - 1) * (flops - before.flops);
    sent_bytes += static_cast<double>(times - 1) * (sent_bytes - before.sent_bytes);
  }
};

/// Of a CUDA stream, in its `libraries`: what the host does before it waits for the stream, where what that holds may
/// never end without others.
struct BeforeWaiting {
  std::function<void()> call = {};
};

/// Where kernels run and what they run with: passed to each of them, so that nothing is global. Copies share it.
struct Stream {
  /// A CPU stream with its own pool. `threads` 0: as many as OpenMP would take (OMP_NUM_THREADS, else all cores).
  /// Results depend on the number of threads only in the last bits, and not at all from run to run.
  static Stream cpu(int threads = 0);
  /// A stream on GPU `index` with its own pool. Kernels run in the order of the calls, after them: synchronize() waits.
  /// Throws UsageError where there is no such GPU, or no CUDA in the build.
  static Stream cuda(int index = 0);
  /// A stream that computes nothing: kernels return after their checks, while the pool counts bytes and `dry` counts
  /// FLOPs. Its tensors have shapes and no values; what is read back from them is zeros. `threads` as cpu()'s.
  static Stream dry_run(Device device, int threads = 1);

  std::shared_ptr<Pool> pool;
  int num_threads = 1;
  Device device = Device::kCpu;
  std::shared_ptr<void> native = {};  ///< CUDA: the cudaStream_t
  std::shared_ptr<Libraries> libraries = {};
  std::shared_ptr<Work> dry = {};  ///< null: for real
  /// Kernels repeat their results to the last bit. False: they may add up in the order of arrival where that is faster.
  bool deterministic = true;

  /// The same stream with an empty pool of its own, for what a Graph records.
  Stream with_own_pool() const;

  Tensor empty(Shape shape, DType dtype) const { return Tensor::empty(*pool, shape, dtype); }
  Tensor zeros(Shape shape, DType dtype) const;
  void clear(const Tensor& t) const;  ///< zero bytes
  /// Writes the values of `from` into `to`, of the same shape and dtype; each may lie on the host or on this stream's
  /// device. Done on return if one lies on the host.
  void copy(const Tensor& to, const Tensor& from) const;
  /// Writes `to.numel()` values at `from`, on the host, into `to`.
  template <class T>
  void upload(const Tensor& to, const T* from) const {
    require(to.dtype() == dtype_of<T>(), "upload of ", name_of(dtype_of<T>()), " into ", name_of(to.dtype()));
    upload_bytes(to, from);
  }
  /// Writes the bytes of `t` to `to`, on the host. Waits for them.
  void download(std::byte* to, const Tensor& t) const;
  /// `t` for the host to read: itself, or where it lies on a GPU a copy, for which this waits.
  Tensor on_host(const Tensor& t) const;
  /// Waits until all that was asked for is done, and throws what went wrong with it.
  void synchronize() const;
  /// For kernels: counts work on a dry stream.
  void count_flops(double flops) const {
    if (dry) dry->flops += flops;
  }

 private:
  void before_waiting() const;
  void upload_bytes(const Tensor& to, const void* from) const;
};

}  // namespace spikesink
