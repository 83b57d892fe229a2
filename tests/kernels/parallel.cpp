#include "kernels/core/parallel.h"

#include <catch2/catch.hpp>
#include <new>
#include <string>
#include <vector>

#include "kernels/core/check.h"

using namespace spikesink;
using kernels::cpu::parallel_ranges;
using kernels::cpu::parallel_tasks;

TEST_CASE("parallel_ranges and parallel_tasks visit each element once", "[kernels][parallel]") {
  const Stream stream = Stream::cpu(GENERATE(1, 2, 5));
  const std::int64_t n = GENERATE(0, 1, 2, 97);
  CAPTURE(stream.num_threads, n);
  std::vector<int> ranges(static_cast<std::size_t>(n), 0), tasks = ranges;
  parallel_ranges(stream, n, 3, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) ++ranges[static_cast<std::size_t>(i)];
  });
  parallel_tasks(stream, n, [&](std::int64_t i) { ++tasks[static_cast<std::size_t>(i)]; });
  CHECK(ranges == std::vector<int>(static_cast<std::size_t>(n), 1));
  CHECK(tasks == ranges);
}

TEST_CASE("an exception in one part or task reaches the caller as what it is", "[kernels][parallel]") {
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  const std::int64_t bad = GENERATE(0, 13, 39);
  CAPTURE(stream.num_threads, bad);
  CHECK_THROWS_AS(parallel_ranges(stream, 40, 1,
                                  [&](std::int64_t begin, std::int64_t end) {
                                    if (begin <= bad && bad < end) throw std::bad_alloc();
                                  }),
                  std::bad_alloc);
  CHECK_THROWS_WITH(parallel_tasks(stream, 40, [&](std::int64_t i) { require(i != bad, "task ", i); }),
                    "task " + std::to_string(bad));
}

TEST_CASE("of many exceptions one reaches the caller, and the next region starts afresh", "[kernels][parallel]") {
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(stream.num_threads);
  for (int i = 0; i < 20; ++i) {
    CHECK_THROWS_AS(parallel_ranges(stream, 40, 1, [](std::int64_t, std::int64_t) { throw std::bad_alloc(); }),
                    std::bad_alloc);
    CHECK_THROWS_AS(parallel_tasks(stream, 40, [](std::int64_t) { throw std::bad_alloc(); }), std::bad_alloc);
  }
  std::int64_t done = 0;
  parallel_tasks(stream, 1, [&](std::int64_t) { ++done; });
  CHECK(done == 1);
}

TEST_CASE("scratch that does not fit into memory, asked for inside a region, can be caught", "[kernels][parallel]") {
  const Stream stream = Stream::cpu(4);
  const auto task = [&](std::int64_t) { return stream.empty({std::int64_t{1} << 55}, DType::kF32); };
  CHECK_THROWS_AS(parallel_tasks(stream, 8, task), std::bad_alloc);
  CHECK(stream.pool->live_bytes() == 0);
}
