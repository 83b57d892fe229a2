#include "trainer/dist/communicator.h"

#include <catch2/catch.hpp>

#include "tests/dist/communicator_checks.h"
#include "tests/kernels/support.h"
#include "tests/trainer/thread_ranks.h"

using namespace spikesink;
using namespace spikesink::test;
using Catch::Matchers::Contains;

namespace {
const std::vector<std::string> kNone;

/// How many of 40 orders of events give `f(Communicator&)`, true where its numbers are right, a wrong number.
template <class F>
int num_wrong(F f) {
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    std::array<bool, 3> right{};
    run_ranks(
        3, [&](Communicator& c) { right[static_cast<std::size_t>(c.rank())] = f(c); }, seed);
    wrong += std::ranges::find(right, false) != right.end();
  }
  return wrong;
}
}  // namespace

TEST_CASE("a run of one process communicates with itself", "[dist]") {
  CHECK(CommunicatorChecks(*alone()).run() == kNone);
}

TEST_CASE("one process's operations where the part is the whole touch nothing", "[dist]") {
  const Stream stream = Stream::cpu(1);
  const Tensor t = from_values({3}, DType::kF32, {1, 2, 3});
  alone()->reduce_scatter(stream, t, t).wait(stream);
  alone()->all_gather(stream, t, t).wait(stream);
  CHECK(values(t) == std::vector<double>{1, 2, 3});
}

TEST_CASE("operations that do not fit their tensors are refused, by any communicator", "[dist]") {
  const Stream stream = Stream::cpu(1);
  const Tensor three = empty({3}, DType::kF32), two = empty({2}, DType::kF32), ids = empty({3}, DType::kI32);
  const Tensor wide = empty({3}, DType::kF64), rounded = empty({3}, DType::kBF16);
  CHECK_THROWS_WITH(alone()->reduce_scatter(stream, two, three), Contains("3 elements, expected 1 * 2"));
  CHECK_THROWS_WITH(alone()->reduce_scatter(stream, ids, ids), Contains("i32, expected f32 or f64"));
  CHECK_THROWS_AS(alone()->reduce_scatter(stream, wide, rounded), ContractError);
  CHECK_THROWS_AS(alone()->reduce_scatter(stream, three, wide), ContractError);
  CHECK_THROWS_WITH(alone()->all_gather(stream, three, two), Contains("3 elements, expected 1 * 2"));
  CHECK_THROWS_AS(alone()->all_gather(stream, three, wide), ContractError);
  CHECK_THROWS_WITH(alone()->all_reduce(stream, rounded), Contains("bf16, expected f32 or f64"));
}

TEST_CASE("ranks that are threads keep the contract, in any order of events", "[dist]") {
  const int world = GENERATE(1, 2, 3, 4);
  const auto seed = GENERATE(range<std::uint64_t>(0, 4));
  CAPTURE(world, seed);
  std::vector<std::vector<std::string>> problems(static_cast<std::size_t>(world));
  run_ranks(
      world, [&](Communicator& c) { problems[static_cast<std::size_t>(c.rank())] = CommunicatorChecks(c).run(); },
      seed);
  for (const auto& of_rank : problems) CHECK(of_rank == kNone);
}

TEST_CASE("ranks that are threads show a wait that is missing and memory that is used too early", "[dist][races]") {
  const Stream stream = Stream::cpu(1);
  const auto full = [&](std::int64_t n, double x) {
    const Tensor t = stream.empty({n}, DType::kF64);
    std::ranges::fill(t.span<double>(), x);
    return t;
  };
  const auto is = [](const Tensor& t, double x) { return t.data<double>()[0] == x; };

  CHECK(num_wrong([&](Communicator& c) {
          const Tensor t = full(2, 1);
          c.all_reduce(stream, t).wait(stream);
          return is(t, 3);
        }) == 0);
  CHECK(num_wrong([&](Communicator& c) {  // the result is read before it is there
          const Tensor t = full(2, 1);
          const Transfer transfer = c.all_reduce(stream, t);
          const bool right = is(t, 3);
          transfer.wait(stream);
          return right;
        }) > 0);
  CHECK(num_wrong([&](Communicator& c) {  // a source is written before the operation has taken it
          const Tensor from = full(2, 1), to = full(6, 0);
          const Transfer transfer = c.all_gather(stream, to, from);
          stream.clear(from);
          transfer.wait(stream);
          return is(to, 1) && is(to.slice(4, {2}), 1);
        }) > 0);
  CHECK(num_wrong([&](Communicator& c) {  // a target still in use is lent to an operation
          const Tensor from = full(2, 1), to = full(6, 5);
          const Transfer transfer = c.all_gather(stream, to, from);
          const bool right = is(to, 5);
          transfer.wait(stream);
          return right;
        }) > 0);
}

TEST_CASE("a rank that throws ends the other threads, and is the one that is heard", "[dist]") {
  const int guilty = GENERATE(0, 1, 2);
  std::array<std::string, 3> heard;
  const Stream stream = Stream::cpu(1);
  CHECK_THROWS_WITH(run_ranks(3,
                              [&](Communicator& c) {
                                c.barrier();
                                if (c.rank() == guilty) throw DataError("shard 7: gone");
                                const Tensor t = stream.zeros({2}, DType::kF32);
                                try {
                                  c.all_reduce(stream, t).wait(stream);
                                  c.barrier();
                                } catch (const RankFailure& failure) {
                                  heard[static_cast<std::size_t>(c.rank())] = failure.what();
                                  throw;
                                }
                              }),
                    "shard 7: gone");
  for (int rank = 0; rank < 3; ++rank)
    CHECK(heard[static_cast<std::size_t>(rank)] ==
          (rank == guilty ? "" : "rank " + std::to_string(guilty) + " of 3: shard 7: gone"));
}

TEST_CASE("threads that call different operations are told, and do not hang", "[dist]") {
  const Stream stream = Stream::cpu(1);
  const auto reduce = [&](std::int64_t n) {
    return [&stream, n](Communicator& c) { c.all_reduce(stream, stream.zeros({n}, DType::kF32)).wait(stream); };
  };
  CHECK_THROWS_WITH(run_ranks(2, [&](Communicator& c) { reduce(1 + c.rank())(c); }), Contains("all_reduce of rank"));
  CHECK_THROWS_WITH(run_ranks(2,
                              [&](Communicator& c) {
                                if (c.rank() == 1) reduce(1)(c);
                              }),
                    Contains("rank 1 waits in all_reduce for rank 0, which has returned"));
  CHECK_THROWS_WITH(run_ranks(2,
                              [&](Communicator& c) {
                                if (c.rank() == 1) c.barrier();
                              }),
                    Contains("rank 1 waits in exchange for rank 0, which has returned"));
}
