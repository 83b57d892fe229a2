#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "kernels/core/prefetch.h"
#include "kernels/ffn/silu_mul.h"
#include "kernels/ffn/silu_mul_math.h"

namespace spikesink::kernels::cpu {

void silu_mul_forward(const Stream& stream, const SiluMulForward& a) {
  with_dtype(a.y.dtype(), [&]<class T>() {
    const auto [N, F] = matrix_dims(a.y);
    parallel_ranges(stream, N, row_grain(F), [&, F = F](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T *gate = a.gate_up.data<T>() + n * 2 * F, *up = gate + F;
        T* y = a.y.data<T>() + n * F;
        if (n + 1 < end) prefetch(gate + 2 * F, 2 * F);
#pragma omp simd
        for (std::int64_t f = 0; f < F; ++f) y[f] = math::silu_mul(gate[f], up[f]);
      }
    });
  });
}

void silu_mul_backward(const Stream& stream, const SiluMulBackward& a) {
  with_dtype(a.dy.dtype(), [&]<class T>() {
    const auto [N, F] = matrix_dims(a.dy);
    parallel_ranges(stream, N, row_grain(F), [&, F = F](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const T *gate = a.gate_up.data<T>() + n * 2 * F, *up = gate + F;
        const T* dy = a.dy.data<T>() + n * F;
        T *dgate = a.dgate_up.data<T>() + n * 2 * F, *dup = dgate + F;
        if (n + 1 < end) {
          prefetch(gate + 2 * F, 2 * F);
          prefetch(dy + F, F);
        }
#pragma omp simd
        for (std::int64_t f = 0; f < F; ++f) {
          const auto d = math::silu_mul_gradient(gate[f], up[f], dy[f]);
          dgate[f] = d.gate;
          dup[f] = d.up;
        }
      }
    });
  });
}

}  // namespace spikesink::kernels::cpu
