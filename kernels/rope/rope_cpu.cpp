#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/elementwise/grain.h"
#include "kernels/rope/rope.h"

namespace spikesink::kernels::cpu {
namespace {

/// (T, D): for each position D / 2 cosines, then D / 2 sines. Exact at the head of every block of positions; within a
/// block each position is the one before, turned by the frequency, which costs a tenth of calling sin and cos and errs
/// by less than 1e-14.
template <class T>
void fill_table(const Stream& stream, T* table, std::int64_t length, std::int64_t d_head, double theta) {
  constexpr std::int64_t kBlock = 64;
  const std::int64_t half = d_head / 2;
  parallel_ranges(stream, (length + kBlock - 1) / kBlock, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> scratch(static_cast<std::size_t>(4 * half));
    double *step_cos = scratch.data(), *step_sin = step_cos + half, *cos = step_sin + half, *sin = cos + half;
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * kBlock;
      for (std::int64_t i = 0; i < half; ++i) {
        const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(d_head));
        step_cos[i] = std::cos(frequency);
        step_sin[i] = std::sin(frequency);
        cos[i] = std::cos(static_cast<double>(first) * frequency);
        sin[i] = std::sin(static_cast<double>(first) * frequency);
      }
      for (std::int64_t t = first; t < std::min(first + kBlock, length); ++t) {
        T* row = table + t * d_head;
#pragma omp simd
        for (std::int64_t i = 0; i < half; ++i) {
          const double c = cos[i], s = sin[i];
          row[i] = static_cast<T>(c);
          row[i + half] = static_cast<T>(s);
          cos[i] = c * step_cos[i] - s * step_sin[i];
          sin[i] = s * step_cos[i] + c * step_sin[i];
        }
      }
    }
  });
}

/// y = x turned; `direction` is 1, or -1 for the way back.
void rotate(const Stream& stream, const Tensor& out, const Tensor& in, std::int64_t num_heads, std::int64_t d_head,
            std::int64_t length, double theta, int direction) {
  with_dtype(in.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(in);
    const std::int64_t half = d_head / 2, turned = num_heads * d_head;
    const Tensor angles = stream.empty({length, d_head}, in.dtype());
    T* const table = angles.data<T>();
    fill_table(stream, table, length, d_head, theta);
    parallel_ranges(stream, N, row_grain(W), [&, W = W](std::int64_t begin, std::int64_t end) {
      const T sign = static_cast<T>(direction);
      for (std::int64_t n = begin; n < end; ++n) {
        const T *cos = table + n % length * d_head, *sin = cos + half;
        const T* x = in.data<T>() + n * W;
        T* y = out.data<T>() + n * W;
        for (std::int64_t column = 0; column < turned; column += d_head)
#pragma omp simd
          for (std::int64_t i = column; i < column + half; ++i) {
            const T a = x[i], b = x[i + half], c = cos[i - column], s = sign * sin[i - column];
            y[i] = a * c - b * s;
            y[i + half] = b * c + a * s;
          }
        if (y != x) std::copy(x + turned, x + W, y + turned);
      }
    });
  });
}
}  // namespace

void rope_forward(const Stream& stream, const RopeForward& a) {
  rotate(stream, a.y, a.x, a.num_heads, a.d_head, a.length, a.theta, 1);
}

void rope_backward(const Stream& stream, const RopeBackward& a) {
  rotate(stream, a.dx, a.dy, a.num_heads, a.d_head, a.length, a.theta, -1);
}

}  // namespace spikesink::kernels::cpu
