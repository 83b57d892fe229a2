#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/order.h"
#include "data/store/token_store.h"

namespace spikesink {

/// The samples of one or more stores, in the order in which training takes them. Sample i of a store with tokens
/// x_0, x_1, ... is x_iT .. x_iT+T, or with a begin-of-text token B it is B, x_iT .. x_iT+T-1, as Lane packs them: the
/// context is chosen at training time.
///
/// Draw g, counted from 0 through the run, is a pure function of (the stores' tokens, weights, seed, T, g). Without
/// weights the stores' samples are one set: draw g is its sample p_e(g mod N), e = g / N, with a Permutation p_e for
/// every epoch e, so that each sample comes once an epoch. With weights a Mixture says which store draw g is of and its
/// number there, and each store has epochs of its own.
///
/// The unit that is shuffled is the sample: a draw is one read of T + 1 tokens at a random place. From the page cache
/// or an SSD this costs nothing beside the copy; a disk that turns, or a network file system without a cache, should
/// have the store copied to the node's own disk first.
class StoreOrder {
 public:
  /// `stores` outlive it. No weights: by size. DataError if a store has fewer tokens than a sample.
  StoreOrder(std::vector<const TokenStore*> stores, std::vector<double> weights, std::int64_t context,
             std::optional<std::int32_t> begin, std::uint64_t seed);

  /// A sample of one of the stores.
  struct Sample {
    std::size_t store;
    std::int64_t index;  ///< in the store, 0-based
    std::int64_t epoch;  ///< of the store, or of all together where they have no weights
    bool operator==(const Sample&) const = default;
  };
  Sample at(std::int64_t draw) const;
  /// The T + 1 tokens of a sample. As TokenStore::read().
  void read(const Sample& sample, std::span<std::int32_t> to) const;
  std::int64_t samples(std::size_t store) const { return counts_[store]; }

 private:
  std::vector<const TokenStore*> stores_;
  std::int64_t context_;
  std::optional<std::int32_t> begin_;
  std::uint64_t seed_;
  std::vector<std::int64_t> counts_, ends_;  // samples of each store; and of those up to it
  std::optional<Mixture> mixture_;
};

}  // namespace spikesink
