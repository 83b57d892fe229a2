#pragma once
#include <memory>

#include "kernels/core/pool.h"
#include "kernels/core/tensor.h"

namespace spikesink {

/// Where kernels run and what they run with: passed to each of them, so that nothing is global.
struct Stream {
  /// A CPU stream with its own pool. `threads` 0: as many as OpenMP would take (OMP_NUM_THREADS, else all cores).
  /// Results depend on the number of threads only in the last bits, and not at all from run to run.
  static Stream cpu(int threads = 0);

  std::shared_ptr<Pool> pool;
  int num_threads = 1;

  Tensor empty(Shape shape, DType dtype) const { return Tensor::empty(*pool, shape, dtype); }
  Tensor zeros(Shape shape, DType dtype) const;
};

}  // namespace spikesink
