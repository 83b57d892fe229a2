#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/elementwise/add.h"

namespace spikesink::kernels::cpu {

void add(const Stream& stream, const Add& args) {
  with_dtype(args.y.dtype(), [&]<class T>() {
    T* y = args.y.data<T>();
    const T *a = args.a.data<T>(), *b = args.b.data<T>();
    parallel_ranges(stream, args.y.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) y[i] = a[i] + b[i];
    });
  });
}

}  // namespace spikesink::kernels::cpu
