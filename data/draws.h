#pragma once
#include <cstdint>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/core/random.h"

namespace spikesink {

/// A family of Philox draws named by what it decides and by two numbers, e.g. a lane and an epoch.
constexpr Random draws(std::uint64_t seed, std::string_view what, std::uint64_t a = 0, std::uint64_t b = 0) {
  const auto [key, stream] = Random{.seed = seed, .stream = name_hash(what)}.bits(a);
  return {.seed = key, .stream = stream + b};
}

/// A count or a place, as draws and indices take it.
constexpr std::uint64_t number(std::int64_t i) { return static_cast<std::uint64_t>(i); }

/// A permutation of 0 .. n-1 (Fisher and Yates).
inline std::vector<std::int64_t> permutation(const Random& random, std::int64_t n) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::uint64_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i, i)]);
  return order;
}

}  // namespace spikesink
