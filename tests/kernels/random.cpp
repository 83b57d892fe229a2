#include "kernels/core/random.h"

#include <catch2/catch.hpp>
#include <set>

using namespace spikesink;

TEST_CASE("philox gives the known answers of Random123", "[kernels][random]") {
  using Words = PhiloxWords;
  CHECK(philox({0, 0}, {0, 0, 0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("name_hash is FNV-1a, so that names mean the same numbers in every build", "[kernels][random]") {
  CHECK(name_hash("") == 0xcbf29ce484222325u);
  CHECK(name_hash("a") == 0xaf63dc4c8601ec8cu);
  CHECK(name_hash("foobar") == 0x85944171f73967e8u);
}

TEST_CASE("draws of other seeds, streams and indices differ, also in their upper halves", "[kernels][random]") {
  std::set<std::uint64_t> seen;
  for (const std::uint64_t seed : {0ull, 1ull, 1ull << 32})
    for (const std::uint64_t stream : {0ull, 1ull, 1ull << 32})
      for (const std::uint64_t index : {0ull, 1ull, 1ull << 32})
        seen.insert(Random{.seed = seed, .stream = stream}.bits(index).first);
  CHECK(seen.size() == 27);
}

TEST_CASE("uniform, below and normal have the moments of their distributions", "[kernels][random]") {
  const Random random{.seed = 7, .stream = name_hash("moments")};
  constexpr int kDraws = 100000;
  double uniform = 0, mean = 0, variance = 0, fourth = 0;
  std::array<int, 5> counts{};
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double u = random.uniform(i), z = random.normal(i);
    REQUIRE((u >= 0 && u < 1));
    uniform += u / kDraws;
    mean += z / kDraws;
    variance += z * z / kDraws;
    fourth += z * z * z * z / kDraws;
    ++counts[random.below(i, 5)];
  }
  // Five standard deviations of each mean.
  CHECK(uniform == Approx(0.5).margin(5 * 0.289 / std::sqrt(kDraws)));
  CHECK(mean == Approx(0).margin(5 / std::sqrt(kDraws)));
  CHECK(variance == Approx(1).margin(5 * std::sqrt(2.0 / kDraws)));
  CHECK(fourth == Approx(3).margin(5 * std::sqrt(96.0 / kDraws)));
  for (const int count : counts) CHECK(count == Approx(kDraws / 5).margin(5 * std::sqrt(kDraws * 0.16)));
}
