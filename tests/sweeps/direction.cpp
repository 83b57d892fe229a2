#include "sweeps/direction.h"

#include <catch2/catch.hpp>

namespace spikesink {

TEST_CASE("mean and deviation of the sample over seeds", "[sweeps][collect]") {
  CHECK(over_seeds({}).count == 0);
  const OverSeeds one = over_seeds({5});
  CHECK((one.count == 1 && one.mean == 5 && one.deviation == 0));
  const OverSeeds eight = over_seeds({2, 4, 4, 4, 5, 5, 7, 9});
  CHECK(eight.count == 8);
  CHECK(eight.mean == Approx(5));
  CHECK(eight.deviation == Approx(2.138089935));  // sqrt(32 / 7): of the sample, not of the population, which has 2
  CHECK(over_seeds({1e9 + 1, 1e9 + 2, 1e9 + 3}).deviation == Approx(1));  // sums of squares would lose it
}

namespace {
/// Row and baseline with one seed each unless said; steps of 0.1 and 1.
struct Case {
  OverSeeds row, baseline;
  std::optional<double> paper_row, paper_baseline;
};
Direction judged(const Case& c, double step = 0.1, double paper_step = 1) {
  return direction_of({c.row, c.baseline, step, c.paper_row, c.paper_baseline, paper_step});
}
constexpr OverSeeds one(double mean) { return {1, mean, 0}; }
}  // namespace

TEST_CASE("a direction agrees where both differences have one sign", "[sweeps][collect]") {
  CHECK(judged({one(5), one(9), 520, 3818}) == Direction::kAgrees);
  CHECK(judged({one(9), one(5), 520, 3818}) == Direction::kDiffers);
  CHECK(judged({one(9), one(5), 12275, 3818}) == Direction::kAgrees);
  CHECK(judged({one(5), one(9), 12275, 3818}) == Direction::kDiffers);
}

TEST_CASE("there is no direction where a side is missing or the paper's is of rounding", "[sweeps][collect]") {
  CHECK(judged({one(5), one(9), {}, 3818}) == Direction::kNone);
  CHECK(judged({one(5), one(9), 520, {}}) == Direction::kNone);
  CHECK(judged({OverSeeds{}, one(9), 520, 3818}) == Direction::kNone);
  CHECK(judged({one(5), OverSeeds{}, 520, 3818}) == Direction::kNone);
  CHECK(judged({one(5), one(9), 10.1, 10.1}, 0.1, 0.1) == Direction::kNone);
  CHECK(judged({one(5), one(9), 10.0, 10.1}, 0.1, 0.1) == Direction::kNone);
  CHECK(judged({one(5), one(9), 9.8, 9.7}, 0.1, 0.1) == Direction::kNone);  // in binary more than 0.1
  CHECK(judged({one(5), one(9), 9.9, 10.1}, 0.1, 0.1) == Direction::kAgrees);
}

TEST_CASE("with one seed of either, a difference within the last digit printed is unclear", "[sweeps][collect]") {
  CHECK(judged({one(10.0), one(10.1), 520, 3818}) == Direction::kUnclear);
  CHECK(judged({one(10.1), one(10.1), 520, 3818}) == Direction::kUnclear);
  CHECK(judged({one(9.9), one(10.1), 520, 3818}) == Direction::kAgrees);
  CHECK(judged({one(9.9), {4, 10.1, 5}, 520, 3818}) == Direction::kAgrees);  // one seed's noise is not known
  CHECK(judged({{4, 9.9, 5}, one(10.1), 520, 3818}) == Direction::kAgrees);
}

TEST_CASE("with more seeds, a difference within two standard errors is unclear", "[sweeps][collect]") {
  // Equal deviations of 1, two seeds each: 2 sqrt(1/2 + 1/2) = 2.
  CHECK(judged({{2, 8.01, 1}, {2, 10, 1}, 520, 3818}) == Direction::kUnclear);
  CHECK(judged({{2, 7.99, 1}, {2, 10, 1}, 520, 3818}) == Direction::kAgrees);
  CHECK(judged({{2, 11.99, 1}, {2, 10, 1}, 520, 3818}) == Direction::kUnclear);
  CHECK(judged({{2, 12.01, 1}, {2, 10, 1}, 520, 3818}) == Direction::kDiffers);
  // Each its own deviation and number: 2 sqrt(2^2/4 + 1/2) = 2.4495, where a pooled deviation would give 3.1.
  CHECK(judged({{4, 7.56, 2}, {2, 10, 1}, 520, 3818}) == Direction::kUnclear);
  CHECK(judged({{4, 7.54, 2}, {2, 10, 1}, 520, 3818}) == Direction::kAgrees);
  // Seeds that happen to be equal have no less noise than what is printed.
  CHECK(judged({{2, 10.05, 0}, {2, 10, 0}, 520, 3818}) == Direction::kUnclear);
  CHECK(judged({{2, 9.85, 0}, {2, 10, 0}, 520, 3818}) == Direction::kAgrees);
}

}  // namespace spikesink
