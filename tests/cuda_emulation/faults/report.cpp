#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <string>

#include "kernels/core/gpu.h"
#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/faults/faults.h"

using Catch::Contains;
using cuda_emulation::Order;

namespace {

/// What a child process that runs `fault` says on stderr before it dies; empty if it does not die.
std::string dying_words(void (*fault)()) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    fault();
    _exit(0);
  }
  close(ends[1]);
  std::string words;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
    words.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : "died: " + words;
}

/// The different results of `run` over the orders of threads and blocks.
std::set<std::vector<float>> outcomes(std::vector<float> (*run)()) {
  std::set<std::vector<float>> all;
  for (const Order order : {Order::kAscending, Order::kDescending, Order::kRandom}) {
    cuda_emulation::set_order(order, 1);
    std::vector<float> result = run();
    for (float& x : result)
      if (std::isnan(x)) x = -1;  // what was not written; NaN has no order
    all.insert(result);
  }
  cuda_emulation::set_order(Order::kAscending);
  return all;
}

template <class F>
std::set<float> over_stream_orders(F run) {
  std::set<float> all;
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    cuda_emulation::set_stream_seed(seed);
    const float x = run();
    all.insert(std::isnan(x) ? -1 : x);
  }
  return all;
}
}  // namespace

TEST_CASE("races give other results in other orders of threads and blocks", "[cuda_faults]") {
  CHECK(outcomes(faults::missing_barrier).size() > 1);
  CHECK(outcomes(faults::overtaking_warps).size() > 1);
  CHECK(outcomes(faults::two_threads_write_one_place).size() > 1);
  CHECK(outcomes(faults::blocks_write_one_place).size() > 1);
  CHECK(outcomes(faults::with_barrier).size() == 1);
}

TEST_CASE("threads that exit or wait elsewhere while others wait at a barrier are reported with both places",
          "[cuda_faults]") {
  const Order order = GENERATE(Order::kAscending, Order::kDescending, Order::kRandom);
  cuda_emulation::set_order(order, 3);
  CHECK_THROWS_WITH(faults::some_threads_exit_before_barrier(), Contains("divergent") &&
                                                                    Contains("and 39 more waits at __syncthreads()") &&
                                                                    Contains("and 23 more has ended"));
  CHECK_THROWS_WITH(faults::barriers_in_two_branches(), Contains("divergent") && Contains("; thread (32, 0, 0)"));
  CHECK_THROWS_WITH(faults::lane_misses_shuffle(),
                    Contains("waits in a warp function in") && Contains("reduce.cuh") && Contains("has ended"));
  CHECK_THROWS_WITH(faults::shuffle_from_outside_of_mask(), Contains("a lane outside of the mask"));
  CHECK(faults::with_barrier()[3] == 4);  // the next kernel runs as if nothing had been
  cuda_emulation::set_order(Order::kAscending);
}

TEST_CASE("accesses out of bounds, misaligned and after a free are AddressSanitizer's and UBSan's to report",
          "[cuda_faults]") {
  CHECK_THAT(dying_words(faults::store_past_end), Contains("heap-buffer-overflow"));
  CHECK_THAT(dying_words(faults::store_past_dynamic_shared), Contains("heap-buffer-overflow"));
  CHECK_THAT(dying_words(faults::store_past_static_shared), Contains("out of bounds"));
  CHECK_THAT(dying_words(faults::misaligned_vector_load), Contains("misaligned address"));
  CHECK_THAT(dying_words(faults::kernel_uses_freed_memory), Contains("heap-use-after-free"));
}

TEST_CASE("host code that touches device memory is reported, and a kernel given host memory", "[cuda_faults]") {
  CHECK_THAT(dying_words(faults::host_reads_device_memory), Contains("use-after-poison"));
  CHECK_THAT(dying_words(faults::host_copies_into_device_memory), Contains("use-after-poison"));
  CHECK_THROWS_WITH(faults::kernel_given_host_memory(), Contains("a pointer to host memory") && Contains("faults.cu:"));
  CHECK(dying_words([] { faults::with_barrier(); }).empty());
}

TEST_CASE("what nobody wrote reads as NaN", "[cuda_faults]") {
  CHECK(std::isnan(faults::read_of_unwritten_memory()));
  CHECK(std::isnan(faults::read_of_unwritten_shared_memory()));
}

TEST_CASE("a missing event gives wrong numbers in some order of the streams, an event right ones in all",
          "[cuda_faults]") {
  CHECK(over_stream_orders([] { return faults::two_streams(false); }) == std::set<float>{-1, 1});
  CHECK(over_stream_orders([] { return faults::two_streams(true); }) == std::set<float>{1});
}

TEST_CASE("a pinned buffer that is changed before its copy has run is copied as changed", "[cuda_faults]") {
  CHECK(faults::pinned_buffer_reused(false) == 2);
  CHECK(faults::pinned_buffer_reused(true) == 1);
}

TEST_CASE("an asynchronous copy that nobody waited for has not come, and copies and matrices are checked",
          "[cuda_faults]") {
  const auto waited = faults::asynchronous_copy(true), early = faults::asynchronous_copy(false);
  for (std::size_t t = 0; t < 64; ++t) {
    CHECK(waited[t] == 64 - static_cast<float>(t));
    CHECK(std::isnan(early[t]));
  }
  CHECK_THAT(dying_words(faults::asynchronous_copy_past_end), Contains("AddressSanitizer"));
  CHECK_THROWS_WITH(faults::misaligned_rows_of_matrices(), Contains("not a multiple of its size"));
  CHECK_THROWS_WITH(faults::mma_without_a_lane(), Contains("waits in a warp function in") && Contains("mma.cuh"));
}

TEST_CASE("launches that no GPU would take are refused where they are made", "[cuda_faults]") {
  CHECK_THROWS_WITH(faults::too_many_threads(), Contains("invalid configuration") && Contains("faults.cu:"));
  CHECK_THROWS_WITH(faults::too_much_shared_memory(), Contains("shared memory of the kernel: invalid argument"));
  CHECK_THROWS_WITH(faults::shared_memory_unasked(48 << 10), Contains("invalid argument"));  // 48 KiB with __shared__
  CHECK_NOTHROW(faults::shared_memory_unasked(40 << 10));
  for (const std::int64_t kib : {1, 48, 226}) CHECK_NOTHROW(faults::shared_memory(kib << 10));
  CHECK_THROWS_WITH(faults::shared_memory(227 << 10), Contains("shared memory of the kernel"));
  CHECK(cuda_emulation::live_device_bytes() == 0);
}
