#include "kernels/core/stream.h"

#include <omp.h>

#include <cstring>

#include "io/failure.h"
#include "kernels/core/gpu.h"

namespace spikesink {

namespace {
/// Memory that is not of the stream's own pool.
Tensor host_tensor(const Shape& shape, DType dtype) {
  const auto bytes = static_cast<std::size_t>(shape.numel() * size_of(dtype));
  const std::shared_ptr<std::byte[]> memory = std::make_shared<std::byte[]>(bytes);
  return {std::shared_ptr<std::byte>(memory, memory.get()), shape, dtype};
}

int threads_or_default(int threads) {
  constexpr int kMost = 1024;  // systems start no more
  if (threads > 0) return threads;
  if (omp_get_max_threads() > kMost)
    throw UsageError("OMP_NUM_THREADS: " + std::to_string(omp_get_max_threads()) + ", must be at most " +
                     std::to_string(kMost));
  return omp_get_max_threads();
}
}  // namespace

Stream Stream::cpu(int threads) {
  return {.pool = std::make_shared<Pool>(),
          .num_threads = threads_or_default(threads),
          .libraries = std::make_shared<Libraries>()};
}

Stream Stream::cuda([[maybe_unused]] int index) {
  if constexpr (kHasCuda) {
    const gpu::NativeStream native = gpu::new_stream(index);
    return {.pool = std::make_shared<Pool>(native),
            .device = Device::kCuda,
            .native = native,
            .libraries = std::make_shared<Libraries>()};
  } else {
    throw UsageError(
        "system.device: cuda, but this build has no CUDA; build it with cmake --preset cuda, or set system.device=cpu");
  }
}

Stream Stream::dry_run(Device device, int threads) {
  return {.pool = Pool::dry(device),
          .num_threads = device == Device::kCuda ? 1 : threads_or_default(threads),
          .device = device,
          .libraries = std::make_shared<Libraries>(),
          .dry = std::make_shared<Work>()};
}

Stream Stream::with_own_pool() const {
  Stream other = *this;
  other.pool = dry      ? Pool::dry(device)
               : native ? std::make_shared<Pool>(native, /*recorded=*/true)
                        : std::make_shared<Pool>();
  return other;
}

Tensor Stream::zeros(Shape shape, DType dtype) const {
  Tensor t = empty(shape, dtype);
  clear(t);
  return t;
}

void Stream::clear(const Tensor& t) const {
  require(t.device() == device, "clear on a ", name_of(device), " stream: a tensor on ", name_of(t.device()));
  if (dry) return;
  if constexpr (kHasCuda) {
    if (device == Device::kCuda) return gpu::clear(native.get(), t.raw(), t.bytes());
  }
  std::memset(t.raw(), 0, static_cast<std::size_t>(t.bytes()));
}

void Stream::copy(const Tensor& to, const Tensor& from) const {
  require_tensor(to, "copy to", from.shape(), from.dtype(), to.device());
  for (const Tensor& t : {to, from})
    require(t.device() == Device::kCpu || t.device() == device, "copy on a ", name_of(device), " stream: a tensor on ",
            name_of(t.device()));
  if (dry || to.numel() == 0) return;  // of no elements there need be no memory
  if constexpr (kHasCuda) {
    if (device == Device::kCuda) {
      if (to.device() == Device::kCpu || from.device() == Device::kCpu) before_waiting();
      return gpu::copy(native.get(), to.raw(), from.raw(), to.bytes());
    }
  }
  std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(to.bytes()));
}

void Stream::before_waiting() const {
  if (const auto& call = libraries->get<BeforeWaiting>().call) call();
}

void Stream::upload_bytes(const Tensor& to, const void* from) const {
  // A handle that owns nothing: the copy is done when it returns.
  std::byte* const bytes = const_cast<std::byte*>(static_cast<const std::byte*>(from));
  copy(to, Tensor({std::shared_ptr<void>{}, bytes}, to.shape(), to.dtype()));
}

void Stream::download(std::byte* to, const Tensor& t) const {
  copy(Tensor({std::shared_ptr<void>{}, to}, t.shape(), t.dtype()), t);
}

Tensor Stream::on_host(const Tensor& t) const {
  if (t.device() == Device::kCpu && !dry) return t;
  const Tensor host = host_tensor(t.shape(), t.dtype());
  copy(host, t);
  return host;
}

void Stream::synchronize() const {
  if constexpr (kHasCuda) {
    if (device == Device::kCuda && !dry) {
      before_waiting();
      gpu::synchronize(native.get());
    }
  }
}

}  // namespace spikesink
