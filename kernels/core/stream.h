#pragma once
#include <memory>

#include "kernels/core/device.h"
#include "kernels/core/pool.h"
#include "kernels/core/tensor.h"

namespace spikesink {

/// Where kernels run and what they run with: passed to each of them, so that nothing is global.
struct Stream {
  /// A CPU stream with its own pool. `threads` 0: as many as OpenMP would take (OMP_NUM_THREADS, else all cores).
  /// Results depend on the number of threads only in the last bits, and not at all from run to run.
  static Stream cpu(int threads = 0);
  /// A stream on GPU `index` with its own pool. Kernels run in the order of the calls, after them: synchronize() waits.
  /// Throws UsageError where there is no such GPU, or no CUDA in the build.
  static Stream cuda(int index = 0);

  std::shared_ptr<Pool> pool;
  int num_threads = 1;
  Device device = Device::kCpu;
  std::shared_ptr<void> native = {};  ///< CUDA: the cudaStream_t

  Tensor empty(Shape shape, DType dtype) const { return Tensor::empty(*pool, shape, dtype); }
  Tensor zeros(Shape shape, DType dtype) const;
  /// Writes the values of `from` into `to`, of the same shape and dtype; each may lie on the host or on this stream's
  /// device. Done on return if one lies on the host.
  void copy(const Tensor& to, const Tensor& from) const;
  /// Waits until all that was asked for is done, and throws what went wrong with it.
  void synchronize() const;
};

}  // namespace spikesink
