#include <algorithm>
#include <cmath>

#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/optim/adamw.h"
#include "kernels/optim/adamw_math.h"

namespace spikesink::kernels::cpu {
namespace {

template <class T>
void update(const AdamWSegment& s, std::int64_t begin, std::int64_t end, const math::AdamWFactors<T>& f) {
  T *weight = s.weight.data<T>(), *m = s.m.data<T>(), *v = s.v.data<T>();
  const T* grad = s.grad.data<T>();
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) math::adamw_update(weight[i], m[i], v[i], grad[i], f);
}
}  // namespace

void adamw(const Stream& stream, const AdamW& a) {
  const double grad_scale = a.grad_squares ? math::clip_factor(*a.grad_squares.data<double>(), a.clip) : 1;
  if (std::isnan(grad_scale) || (a.loss && !math::is_finite(*a.loss.data<double>()))) return;
  std::int64_t total = 0;
  for (const AdamWSegment& s : a.segments) total += s.weight.numel();
  // Threads share the segments as if they lay end to end, so that one huge matrix among vectors keeps all of them busy.
  parallel_ranges(stream, total, kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t start = 0;
    for (const AdamWSegment& s : a.segments) {
      const std::int64_t from = std::max(begin, start), to = std::min(end, start + s.weight.numel());
      if (from < to)
        with_dtype(s.weight.dtype(), [&]<class T>() {
          auto factors = math::adamw_factors<T>(a);
          factors.grad_scale = static_cast<T>(grad_scale);
          factors.keep = static_cast<T>(1 - a.lr * s.weight_decay);
          update<T>(s, from - start, to - start, factors);
        });
      start += s.weight.numel();
    }
  });
}

}  // namespace spikesink::kernels::cpu
