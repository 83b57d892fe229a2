#include "kernels/core/stream.h"

#include <omp.h>

#include <cstring>

#include "io/failure.h"
#include "kernels/core/gpu.h"

namespace spikesink {

Stream Stream::cpu(int threads) {
  return {.pool = std::make_shared<Pool>(), .num_threads = threads > 0 ? threads : omp_get_max_threads()};
}

Stream Stream::cuda(int index) {
  if constexpr (kHasCuda) {
    const gpu::NativeStream native = gpu::new_stream(index);
    return {.pool = std::make_shared<Pool>(native), .num_threads = 1, .device = Device::kCuda, .native = native};
  } else {
    throw UsageError("system.device: cuda, but this build has no CUDA, so no GPU " + std::to_string(index) +
                     "; build it with cmake --preset cuda, or set system.device=cpu");
  }
}

Tensor Stream::zeros(Shape shape, DType dtype) const {
  Tensor t = empty(shape, dtype);
  if constexpr (kHasCuda) {
    if (device == Device::kCuda) {
      gpu::clear(native.get(), t.raw(), t.bytes());
      return t;
    }
  }
  std::memset(t.raw(), 0, static_cast<std::size_t>(t.bytes()));
  return t;
}

void Stream::copy(const Tensor& to, const Tensor& from) const {
  require_tensor(to, "copy to", from.shape(), from.dtype(), to.device());
  for (const Tensor& t : {to, from})
    require(t.device() == Device::kCpu || t.device() == device, "copy on a ", name_of(device), " stream: a tensor on ",
            name_of(t.device()));
  if constexpr (kHasCuda) {
    if (device == Device::kCuda) return gpu::copy(native.get(), to.raw(), from.raw(), to.bytes());
  }
  std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(to.bytes()));
}

void Stream::synchronize() const {
  if constexpr (kHasCuda) {
    if (device == Device::kCuda) gpu::synchronize(native.get());
  }
}

}  // namespace spikesink
