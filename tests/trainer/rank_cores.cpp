#include "trainer/dist/rank_cores.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string_view>

using namespace spikesink;

namespace {

/// A rank that may run on `count` cores from `first` on.
RankCores on(std::string_view node, int first, int count) {
  RankCores rank;
  std::ranges::copy(node, rank.node.begin());
  for (int core = first; core < first + count; ++core) CPU_SET(core, &rank.cores);
  return rank;
}

}  // namespace

TEST_CASE("ranks that may run on the same cores share them, be those all of the machine or not", "[dist]") {
  const std::vector<RankCores> ranks{on("a", 0, 8), on("a", 0, 8), on("a", 8, 6), on("b", 0, 8)};
  CHECK(threads_of(ranks, 0) == 4);
  CHECK(threads_of(ranks, 1) == 4);
  CHECK(threads_of(ranks, 2) == 0);  // no other's: all of them
  CHECK(threads_of(ranks, 3) == 0);  // of another machine
}

TEST_CASE("a rank has a thread, though more ranks share its cores than there are cores", "[dist]") {
  const std::vector<RankCores> ranks(3, on("a", 4, 2));
  CHECK(threads_of(ranks, 2) == 1);
}

TEST_CASE("a rank of whose cores nothing is known leaves its threads to OpenMP", "[dist]") {
  CHECK(threads_of(std::vector{on("a", 0, 0), on("a", 0, 4)}, 0) == 0);
}
