#pragma once
#include <omp.h>

#include <algorithm>

#include "kernels/attention/attention.h"

namespace spikesink::kernels::cpu {

/// Queries that meet their keys at a time: scratch is kQueries x T at most, linear in T.
constexpr std::int64_t kQueries = 64;

/// Scratch of a thread: the scores of a block of queries; on the way back also their gradients, and k, v, dk and dv of
/// a head.
inline std::int64_t forward_scratch(const AttentionDims& d, DType dtype) {
  return scratch_bytes<std::byte>(std::min(kQueries, d.length) * d.length * size_of(dtype));
}
inline std::int64_t backward_scratch(const AttentionDims& d, DType dtype) {
  return 2 * forward_scratch(d, dtype) + scratch_bytes<std::byte>(4 * d.length * d.d_head * size_of(dtype));
}

/// The part of the calling thread in scratch that has `bytes` for each.
inline Scratch own_part(Scratch scratch, std::int64_t bytes) {
  return Scratch(scratch.take<std::byte>((omp_get_thread_num() + 1) * bytes) + omp_get_thread_num() * bytes);
}

/// The first visible key of each query in a block of `rows` queries from row `row` on; all 0 without `starts`.
class FirstKeys {
 public:
  FirstKeys(const Tensor& starts, std::int64_t row, std::int64_t rows)
      : starts_(starts ? starts.data<std::int32_t>() + row : nullptr),
        smallest_(starts ? *std::min_element(starts_, starts_ + rows) : 0) {}

  std::int64_t smallest() const { return smallest_; }  ///< of the block: no query sees a key before it
  /// Of query r, counted from smallest().
  std::int64_t of(std::int64_t r) const { return starts_ ? starts_[r] - smallest_ : 0; }

 private:
  const std::int32_t* starts_;
  std::int64_t smallest_;
};

}  // namespace spikesink::kernels::cpu
