#pragma once
#include <algorithm>

#include "kernels/core/tensor.h"

namespace spikesink::kernels::cpu {

/// Queries that meet their keys at a time: scratch is kQueries x T at most, linear in T.
constexpr std::int64_t kQueries = 64;

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
