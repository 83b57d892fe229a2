#include "kernels/core/stream.h"

#include <omp.h>

#include <cstring>

namespace spikesink {

Stream Stream::cpu(int threads) {
  return {.pool = std::make_shared<Pool>(), .num_threads = threads > 0 ? threads : omp_get_max_threads()};
}

Tensor Stream::zeros(Shape shape, DType dtype) const {
  Tensor t = empty(shape, dtype);
  std::memset(t.raw(), 0, static_cast<std::size_t>(t.bytes()));
  return t;
}

}  // namespace spikesink
