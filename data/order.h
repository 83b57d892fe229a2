#pragma once
#include <cstdint>
#include <vector>

namespace spikesink {

/// A permutation of 0 .. n-1, each value computed on its own in constant time and memory: a Feistel network of Philox
/// rounds over the next even power of two, walked until it is below n (on average less than 4 steps).
/// Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", cycle walking.
class Permutation {
 public:
  Permutation(std::uint64_t seed, std::uint64_t stream, std::int64_t n);
  std::int64_t operator()(std::int64_t i) const;  ///< 0 <= i < n
  std::int64_t size() const { return n_; }

 private:
  std::uint64_t seed_, stream_;
  std::int64_t n_;
  int half_bits_;
};

/// Which store a draw comes from, and the how manieth of that store it is.
struct Draw {
  std::size_t store;
  std::int64_t index;
};

/// Deals draws from several stores in the proportion of their weights: exactly, in every block of kBlock draws, to the
/// 1 / kBlock-th; in an order inside of the block that a Permutation gives. A draw is a pure function of (weights,
/// seed, its number).
class Mixture {
 public:
  static constexpr std::int64_t kBlock = 4096;
  /// Weights of any scale, each > 0.
  Mixture(std::vector<double> weights, std::uint64_t seed);
  Draw operator()(std::int64_t draw) const;
  /// How many of a block each store has.
  const std::vector<std::int64_t>& quotas() const { return quotas_; }

 private:
  std::uint64_t seed_;
  std::vector<std::int64_t> quotas_;  ///< sum kBlock
};

}  // namespace spikesink
