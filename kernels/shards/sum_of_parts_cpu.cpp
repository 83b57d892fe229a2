#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/shards/sum_of_parts.h"

namespace spikesink::kernels::cpu {

void sum_of_parts(const Stream& stream, const SumOfParts& args) {
  const std::int64_t W = args.parts.shape()[0], n = args.y.numel();
  with_dtype(args.y.dtype(), [&]<class T>() {
    with_stored_dtype(args.parts.dtype(), [&]<class P>() {
      T* y = args.y.data<T>();
      const P* parts = args.parts.data<P>();
      parallel_ranges(stream, n, kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          T sum = static_cast<T>(parts[i]);
          for (std::int64_t r = 1; r < W; ++r) sum += static_cast<T>(parts[r * n + i]);
          y[i] = sum;
        }
      });
    });
  });
}

}  // namespace spikesink::kernels::cpu
