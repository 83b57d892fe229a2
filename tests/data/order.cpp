#include "data/order.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "data/draws.h"

using namespace spikesink;

TEST_CASE("a permutation has every value once, whatever its size", "[data][order]") {
  for (std::int64_t n = 1; n < 200; ++n)
    for (const std::uint64_t seed : {1, 2}) {
      const Permutation order(draws(seed, "test"), n);
      std::vector<bool> seen(static_cast<std::size_t>(n));
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t x = order(i);
        REQUIRE((x >= 0 && x < n));
        REQUIRE_FALSE(seen[static_cast<std::size_t>(x)]);
        seen[static_cast<std::size_t>(x)] = true;
      }
    }
  for (const std::int64_t n : {99'991, 100'000, 131'072}) {
    const Permutation order(draws(7, "test"), n);
    std::vector<bool> seen(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) seen[static_cast<std::size_t>(order(i))] = true;
    CHECK(std::ranges::count(seen, true) == n);
  }
}

TEST_CASE("a permutation of 10^12 and more is as quick, and its values do not meet", "[data][order]") {
  for (const std::int64_t n : {std::int64_t{1'000'000'000'000}, (std::int64_t{1} << 62) - 1}) {
    const Permutation order(draws(3, "test"), n);
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < 20'000; ++i) {
      seen.insert(order(i));
      seen.insert(order(n - 1 - i));
    }
    CHECK(seen.size() == 40'000);
    CHECK(*seen.begin() >= 0);
    CHECK(*seen.rbegin() < n);
  }
}

TEST_CASE("permutations of many seeds send an element anywhere, equally often", "[data][order]") {
  // Chi-square of the images of two neighbours, over seeds; 5 standard deviations above its mean would be chance of
  // 1 in a million.
  for (const std::int64_t n : {2, 3, 4, 5, 6, 7, 8, 10, 12, 30, 97, 300}) {
    constexpr int kSeeds = 20'000;
    std::map<std::int64_t, int> images, distances;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      const Permutation order(draws(seed, "test"), n);
      ++images[order(0)];
      ++distances[(order(1) - order(0) + n) % n];
    }
    const auto chi_square = [](const std::map<std::int64_t, int>& counts, double cells) {
      double sum = 0;
      for (const auto& [value, count] : counts)
        sum += (count - kSeeds / cells) * (count - kSeeds / cells) / (kSeeds / cells);
      return sum + (cells - static_cast<double>(counts.size())) * (kSeeds / cells);
    };
    CAPTURE(n);
    const auto cells = static_cast<double>(n);
    CHECK(chi_square(images, cells) < cells - 1 + 5 * std::sqrt(2 * cells) + 5);
    if (n > 2) CHECK(chi_square(distances, cells - 1) < cells - 2 + 5 * std::sqrt(2 * cells) + 5);
  }
}

TEST_CASE("an order has no trace of the one that it permutes", "[data][order]") {
  // Neighbours of the order lie n/3 apart on average; runs of them would show in the mean, a drift in the correlation.
  constexpr std::int64_t kN = 1'000'003;
  const Permutation order(draws(11, "test"), kN);
  double distance = 0, product = 0;
  constexpr int kPairs = 50'000;
  for (std::int64_t i = 0; i < kPairs; ++i) {
    distance += std::abs(static_cast<double>(order(i + 1) - order(i))) / kN / kPairs;
    product += (static_cast<double>(order(i)) / kN - 0.5) * (static_cast<double>(i) / kPairs - 0.5) / kPairs;
  }
  CHECK(distance == Approx(1.0 / 3).margin(0.01));
  CHECK(std::abs(product) < 0.002);
}

TEST_CASE("a mixture has its proportions in every block, and each draw of a store once and in order", "[data][order]") {
  const std::vector<double> weights = GENERATE(std::vector<double>{1}, std::vector<double>{0.7, 0.3},
                                               std::vector<double>{5, 3, 2}, std::vector<double>{1, 1e-9, 1});
  const Mixture mixture(weights, 5);
  double sum = 0;
  for (const double w : weights) sum += w;
  std::vector<std::set<std::int64_t>> seen(weights.size());
  for (std::int64_t block = 0; block < 3; ++block) {
    std::vector<std::int64_t> counts(weights.size());
    for (std::int64_t i = 0; i < Mixture::kBlock; ++i) {
      const auto [store, index] = mixture(block * Mixture::kBlock + i);
      ++counts[store];
      // In order, so that a store's epochs follow one another however small it is beside a block.
      REQUIRE(index == static_cast<std::int64_t>(seen[store].size()));
      REQUIRE(seen[store].insert(index).second);
    }
    CHECK(counts == mixture.quotas());
    for (std::size_t k = 0; k < weights.size(); ++k) {
      CHECK(std::abs(static_cast<double>(counts[k]) - weights[k] / sum * Mixture::kBlock) <= 1);
      CHECK(*seen[k].rbegin() == (block + 1) * counts[k] - 1);  // all draws up to here, none beyond
      CHECK(static_cast<std::int64_t>(seen[k].size()) == (block + 1) * counts[k]);
    }
  }
}

TEST_CASE("a mixture interleaves its stores, differently in each block and for each seed", "[data][order]") {
  const auto stores = [](std::uint64_t seed, std::int64_t block) {
    const Mixture mixture({1, 1}, seed);
    std::vector<std::size_t> all;
    for (std::int64_t i = 0; i < Mixture::kBlock; ++i) all.push_back(mixture(block * Mixture::kBlock + i).store);
    return all;
  };
  const auto first = stores(1, 0);
  CHECK(first != stores(1, 1));
  CHECK(first != stores(2, 0));
  CHECK(first == stores(1, 0));
  const auto half = std::count(first.begin(), first.begin() + Mixture::kBlock / 2, std::size_t{0});
  CHECK(std::abs(half - Mixture::kBlock / 4) < 5 * std::sqrt(Mixture::kBlock) / 4);
}
