#include "data/store/store_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/draws.h"
#include "io/failure.h"
#include "kernels/core/check.h"

namespace spikesink {

StoreOrder::StoreOrder(std::vector<const TokenStore*> stores, std::vector<double> weights, std::int64_t context,
                       std::optional<std::int32_t> begin, std::uint64_t seed)
    : stores_(std::move(stores)), context_(context), begin_(begin), seed_(seed) {
  require(!stores_.empty() && context > 0, "store order: ", stores_.size(), " stores, context ", context);
  require(weights.empty() || weights.size() == stores_.size(), "store order: ", weights.size(), " weights for ",
          stores_.size(), " stores");
  for (const TokenStore* store : stores_) {
    const std::int64_t lookahead = begin ? 0 : 1;  // the last target of a sample is the next one's first input
    const std::int64_t count = (store->tokens() - lookahead) / context;
    if (count < 1)
      throw DataError(
          fmt::format("{}: has {} tokens to train on, fewer than one sample of {}; prepare more text, or lower the "
                      "context (model.context)",
                      store->folder(), store->tokens(), context));
    counts_.push_back(count);
    ends_.push_back(count + (ends_.empty() ? 0 : ends_.back()));
  }
  if (!weights.empty()) mixture_.emplace(std::move(weights), seed);
}

StoreOrder::Sample StoreOrder::at(std::int64_t draw) const {
  const auto permuted = [&](std::uint64_t set, std::int64_t index, std::int64_t count) {
    const std::int64_t epoch = index / count;
    const Permutation order(draws(seed_, "data.epoch", set, static_cast<std::uint64_t>(epoch)), count);
    return std::pair{epoch, order(index % count)};
  };
  if (mixture_) {
    const auto [store, index] = (*mixture_)(draw);
    const auto [epoch, sample] = permuted(store, index, counts_[store]);
    return {store, sample, epoch};
  }
  const auto [epoch, sample] = permuted(0, draw, ends_.back());
  const auto store = static_cast<std::size_t>(std::ranges::upper_bound(ends_, sample) - ends_.begin());
  return {store, sample - (ends_[store] - counts_[store]), epoch};
}

void StoreOrder::read(const Sample& sample, std::span<std::int32_t> to) const {
  require(static_cast<std::int64_t>(to.size()) == context_ + 1, "store order: room for ", to.size(), " tokens of ",
          context_ + 1);
  if (begin_) {
    to[0] = *begin_;
    to = to.subspan(1);
  }
  stores_[sample.store]->read(sample.index * context_, to);
}

}  // namespace spikesink
