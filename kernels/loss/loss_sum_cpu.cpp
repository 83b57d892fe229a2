#include "kernels/loss/loss_sum.h"

namespace spikesink::kernels::cpu {

void loss_sum(const Stream&, const LossSum& a) {
  with_dtype(a.losses.dtype(), [&]<class T>() {
    const T* const losses = a.losses.data<T>();
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t n = 0; n < a.losses.numel(); ++n) sum += static_cast<double>(losses[n]);
    *a.total.data<double>() += sum;
  });
}

}  // namespace spikesink::kernels::cpu
