#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/core/random.h"

namespace spikesink {

/// A permutation of 0 .. n-1, each value of it computed on its own in constant time and memory: a Feistel network over
/// pairs (l, r) of l < a and r < b, a b >= n, whose rounds add Philox draws modulo a and b by turns; a value beyond n
/// is sent through again, which is rare, as a b - n < a. Source: Black and Rogaway 2002, "Ciphers with arbitrary finite
/// domains": generalized Feistel, cycle walking.
class Permutation {
 public:
  /// `random` names the permutation (data/draws.h); 1 <= n < 2^62.
  Permutation(const Random& random, std::int64_t n);
  std::int64_t operator()(std::int64_t i) const;  ///< 0 <= i < n
  std::int64_t size() const { return n_; }

 private:
  std::uint64_t once(std::uint64_t x) const;

  Random random_;
  std::int64_t n_;
  std::uint64_t a_, b_;
};

/// The index-th draw from a store.
struct Draw {
  std::size_t store;
  std::int64_t index;
};

/// Deals draws from several stores in the proportion of their weights. In every kBlock draws each store has the same
/// number, its quota: its share of the weights to the kBlock-th, and at least 1; a Permutation mixes them, and those of
/// one store are numbered as they come. A draw is a pure function of (weights, seed, its number); the numbers of a
/// block are worked out together and kept, so draws are cheap where neighbours follow one another. Safe from many
/// threads.
class Mixture {
 public:
  static constexpr std::int64_t kBlock = 4096;
  /// Weights of any scale, at most kBlock of them, each finite and > 0.
  Mixture(const std::vector<double>& weights, std::uint64_t seed);
  ~Mixture();
  Draw operator()(std::int64_t draw) const;
  /// How many of a block's draws each store has; kBlock in all.
  const std::vector<std::int64_t>& quotas() const { return quotas_; }

 private:
  struct Kept;
  using Block = std::vector<Draw>;  // indices from 0 in each
  Block block(std::int64_t number) const;

  std::uint64_t seed_;
  std::vector<std::int64_t> quotas_;
  std::unique_ptr<Kept> kept_;
};

}  // namespace spikesink
