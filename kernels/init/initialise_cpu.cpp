#include "kernels/core/parallel.h"
#include "kernels/init/initialise.h"
#include "kernels/init/initialise_math.h"

namespace spikesink::kernels::cpu {

void initialise(const Stream& stream, const Initialise& a) {
  with_dtype(a.out.dtype(), [&]<class T>() {
    T* const out = a.out.data<T>();
    const Random random{.seed = a.seed, .stream = a.stream};
    constexpr std::int64_t kDraws = 1024;  // some microseconds' worth
    parallel_ranges(stream, a.out.numel(), kDraws, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const double z = a.std > 0 ? math::truncated_normal(random, static_cast<std::uint64_t>(a.first + i)) : 0;
        out[i] = static_cast<T>(a.mean + a.std * z);
      }
    });
  });
}

}  // namespace spikesink::kernels::cpu
