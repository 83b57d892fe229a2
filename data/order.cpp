#include "data/order.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>

#include "data/draws.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {
constexpr std::uint64_t kRounds = 8;  // even, at most 8

/// Whole parts of kBlock that add up to it, by the largest remainders; each at least 1.
std::vector<std::int64_t> quotas_of(const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<std::int64_t> quotas;
  std::vector<std::pair<double, std::size_t>> remainders;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const double share = weights[k] / sum * Mixture::kBlock;
    quotas.push_back(std::max<std::int64_t>(1, static_cast<std::int64_t>(share)));
    remainders.emplace_back(static_cast<double>(quotas[k]) - share, k);
  }
  std::ranges::sort(remainders);
  std::int64_t left = Mixture::kBlock - std::accumulate(quotas.begin(), quotas.end(), std::int64_t{0});
  for (std::size_t i = 0; left > 0; i = (i + 1) % remainders.size(), --left) ++quotas[remainders[i].second];
  for (; left < 0; ++left) --*std::ranges::max_element(quotas);  // of tiny weights that were raised to 1
  return quotas;
}
}  // namespace

Permutation::Permutation(const Random& random, std::int64_t n) : random_(random), n_(n), a_(1), b_(1) {
  require(n >= 1 && n < std::int64_t{1} << 62, "permutation: of ", n, ", expected 1 <= n < 2^62");
  const auto size = static_cast<std::uint64_t>(n);
  a_ = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n)));
  while (a_ * a_ < size) ++a_;
  b_ = (size + a_ - 1) / a_;
}

std::uint64_t Permutation::once(std::uint64_t x) const {
  std::uint64_t l = x / b_, r = x % b_;
  for (std::uint64_t round = 0; round < kRounds; round += 2) {
    l = (l + random_.bits(r << 3 | round).first % a_) % a_;
    r = (r + random_.bits(l << 3 | (round + 1)).first % b_) % b_;
  }
  return l * b_ + r;
}

std::int64_t Permutation::operator()(std::int64_t i) const {
  require(i >= 0 && i < n_, "permutation: element ", i, " of ", n_);
  std::uint64_t x = once(static_cast<std::uint64_t>(i));
  while (x >= static_cast<std::uint64_t>(n_)) x = once(x);
  return static_cast<std::int64_t>(x);
}

struct Mixture::Kept {
  std::mutex mutex;  // guards what follows
  std::int64_t number = -1;
  std::shared_ptr<const Block> block;
};

Mixture::Mixture(const std::vector<double>& weights, std::uint64_t seed)
    : seed_(seed), kept_(std::make_unique<Kept>()) {
  require(!weights.empty() && weights.size() <= kBlock, "mixture: of ", weights.size(), " stores");
  for (const double weight : weights)
    require(std::isfinite(weight) && weight > 0, "mixture: weight ", weight, ", expected > 0");
  quotas_ = quotas_of(weights);
}
Mixture::~Mixture() = default;

Mixture::Block Mixture::block(std::int64_t number) const {
  const Permutation order(draws(seed_, "data.mixture", static_cast<std::uint64_t>(number)), kBlock);
  std::vector<std::int64_t> counts(quotas_.size());
  Block block;
  for (std::int64_t i = 0; i < kBlock; ++i) {
    std::int64_t place = order(i);
    std::size_t store = 0;
    while (place >= quotas_[store]) place -= quotas_[store++];
    block.push_back({store, counts[store]++});
  }
  return block;
}

Draw Mixture::operator()(std::int64_t draw) const {
  const std::int64_t number = draw / kBlock;
  std::shared_ptr<const Block> found;
  {
    const std::lock_guard lock(kept_->mutex);
    if (kept_->number != number) {
      kept_->block = std::make_shared<const Block>(block(number));
      kept_->number = number;
    }
    found = kept_->block;
  }
  const auto [store, index] = (*found)[static_cast<std::size_t>(draw % kBlock)];
  return {store, number * quotas_[store] + index};
}

}  // namespace spikesink
