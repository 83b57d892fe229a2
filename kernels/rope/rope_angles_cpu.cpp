#include <omp.h>

#include <algorithm>
#include <cmath>

#include "kernels/core/parallel.h"
#include "kernels/rope/rope_angles.h"

namespace spikesink::kernels::cpu {
namespace {

/// `turning` has room for 4 half doubles a thread. Exact at the head of every block of positions; within a block each
/// position is the one before, turned by the frequency, which costs a tenth of calling sin and cos and errs by less
/// than 1e-14.
template <class T>
void fill_table(const Stream& stream, T* table, double* turning, std::int64_t length, std::int64_t d_head, double theta,
                const RopeScaling& scaling) {
  constexpr std::int64_t kBlock = 64;
  const std::int64_t half = d_head / 2;
  parallel_ranges(stream, (length + kBlock - 1) / kBlock, 1, [&](std::int64_t begin, std::int64_t end) {
    double *step_cos = turning + omp_get_thread_num() * 4 * half, *step_sin = step_cos + half, *cos = step_sin + half,
           *sin = cos + half;
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * kBlock;
      for (std::int64_t i = 0; i < half; ++i) {
        const double frequency = rope_frequency(i, d_head, theta, scaling);
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
}  // namespace

template <class T>
const T* rope_angles(const Stream& stream, std::int64_t length, std::int64_t d_head, double theta,
                     const RopeScaling& scaling, Scratch& scratch) {
  T* const table = scratch.take<T>(length * d_head);
  double* const turning = scratch.take<double>(stream.num_threads * 2 * d_head);
  fill_table(stream, table, turning, length, d_head, theta, scaling);
  return table;
}
template const float* rope_angles(const Stream&, std::int64_t, std::int64_t, double, const RopeScaling&, Scratch&);
template const double* rope_angles(const Stream&, std::int64_t, std::int64_t, double, const RopeScaling&, Scratch&);

}  // namespace spikesink::kernels::cpu
