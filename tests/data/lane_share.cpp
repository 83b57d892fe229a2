#include "data/lane_share.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

namespace spikesink {
namespace {

constexpr std::uint64_t kLineBytes = 100;

/// Shard s has lines_of(s) lines of kLineBytes.
template <class F>
std::vector<Shard> shards_of(int count, F lines_of) {
  std::vector<Shard> shards;
  for (int s = 0; s < count; ++s) shards.push_back({fmt::format("s{:03}.jsonl", s), kLineBytes * lines_of(s)});
  return shards;
}

std::vector<Shard> of_one_size(int count, std::uint64_t lines) {
  return shards_of(count, [lines](int) { return lines; });
}

std::vector<Shard> of_many_sizes(int count) {
  return shards_of(count, [](int s) { return 1 + static_cast<std::uint64_t>(s * s * s); });
}

}  // namespace

TEST_CASE("in each epoch every line is one lane's, lanes have as much, and few shards are read twice",
          "[data][lane_share]") {
  const auto shards = GENERATE(of_one_size(1, 20'000), of_one_size(3, 7'000), of_one_size(6, 4'000),
                               of_one_size(100, 300), of_many_sizes(2), of_many_sizes(17), of_many_sizes(30));
  const std::int64_t lanes = GENERATE(1, 3, 4, 64);
  const std::int64_t epoch = GENERATE(0, 1, 1'000'000);
  CAPTURE(shards.size(), lanes, epoch);
  std::int64_t all_lines = 0, reads = 0;
  for (const Shard& shard : shards) all_lines += static_cast<std::int64_t>(shard.bytes / kLineBytes);
  std::vector<std::vector<int>> times;  // shard, line -> lanes that have it
  for (const Shard& shard : shards) times.emplace_back(shard.bytes / kLineBytes);
  for (std::int64_t l = 0; l < lanes; ++l) {
    std::int64_t lines = 0;
    const auto share = share_of_lane(shards, lanes, 1, epoch, l);
    reads += std::ssize(share);
    for (const ShardPart& part : share) {
      auto& of_shard = times[static_cast<std::size_t>(part.shard)];
      std::int64_t of_part = 0;
      for (std::size_t d = 0; d < of_shard.size(); ++d)
        if (part.holds(static_cast<std::int64_t>(d))) {
          ++of_shard[d];
          ++of_part;
        }
      const double want = (part.to - part.from) * static_cast<double>(of_shard.size());
      REQUIRE(std::abs(static_cast<double>(of_part) - want) < 4);
      lines += of_part;
    }
    REQUIRE(std::abs(static_cast<double>(lines) - static_cast<double>(all_lines) / static_cast<double>(lanes)) < 8);
  }
  for (const auto& of_shard : times) CHECK(std::ranges::all_of(of_shard, [](int n) { return n == 1; }));
  CHECK(reads <= std::ssize(shards) + lanes - 1);
}

TEST_CASE("shards of one size that lanes divide are read whole, once", "[data][lane_share]") {
  const auto [count, lanes] = GENERATE(table<int, int>({{64, 64}, {128, 64}, {9, 3}, {5, 1}}));
  const auto shards = of_one_size(count, 12'345'678'901);  // 78 TB, as no product may overflow
  std::set<std::int64_t> dealt;
  for (std::int64_t l = 0; l < lanes; ++l)
    for (const ShardPart& part : share_of_lane(shards, lanes, 7, 3, l)) {
      CHECK(part.whole());
      CHECK(dealt.insert(part.shard).second);
    }
  CHECK(std::ssize(dealt) == count);
}

TEST_CASE("a byte of a packed shard counts as three of a plain one", "[data][lane_share]") {
  const std::vector<Shard> shards{{"a.jsonl", 300}, {"b.jsonl.zst", 100}, {"c.jsonl.gz", 100}};
  for (std::int64_t l = 0; l < 3; ++l) {
    const auto share = share_of_lane(shards, 3, 1, 0, l);
    REQUIRE(share.size() == 1);
    CHECK(share[0].whole());
  }
}

TEST_CASE("seed and epoch decide a lane's shards, their order, and which lines it has", "[data][lane_share]") {
  const auto shards = of_one_size(8, 1000);
  std::set<std::vector<std::int64_t>> orders;
  std::map<std::int64_t, int> times;  // shard -> epochs in which lane 0 has it
  for (const std::uint64_t seed : {1, 2, 1})
    for (std::int64_t epoch = 0; epoch < 40; ++epoch) {
      std::vector<std::int64_t> order;
      for (const ShardPart& part : share_of_lane(shards, 2, seed, epoch, 0)) {
        order.push_back(part.shard);
        times[part.shard] += seed == 2;
      }
      CHECK(order.size() == 4);
      orders.insert(order);
    }
  CHECK(orders.size() > 60);  // of 80
  CHECK(orders.size() <= 80);
  for (std::int64_t s = 0; s < 8; ++s) CHECK(std::abs(times[s] - 20) < 10);

  std::set<std::vector<bool>> halves;
  for (std::int64_t epoch = 0; epoch < 10; ++epoch) {
    const auto share = share_of_lane(of_one_size(1, 1000), 2, 1, epoch, 0);
    std::vector<bool> half;
    for (std::int64_t d = 0; d < 1000; ++d) half.push_back(share.at(0).holds(d));
    halves.insert(half);
  }
  CHECK(halves.size() == 10);
}

TEST_CASE("no lane is at the same end of the shards in every epoch", "[data][lane_share]") {
  // A small shard beside a giant lies before or behind it: without a turn it would always be the first lane's or the
  // last's, and all other lanes would find nothing if the giant's documents are all held out.
  const std::vector<Shard> shards{{"giant.jsonl", 1'000'000}, {"small.jsonl", 100}};
  std::set<std::int64_t> lanes_of_small;
  for (std::int64_t epoch = 0; epoch < 100; ++epoch)
    for (std::int64_t l = 0; l < 5; ++l)
      for (const ShardPart& part : share_of_lane(shards, 5, 1, epoch, l))
        if (part.shard == 1) lanes_of_small.insert(l);
  CHECK(lanes_of_small.size() == 5);
}

}  // namespace spikesink
