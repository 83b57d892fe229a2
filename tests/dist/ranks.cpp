// A program of one rank or several, for tests/dist/ranks_test.py to start by mpirun:
//
//   dist_ranks CASE [RANK [cpu | cuda]]    what is done, for most of what goes wrong on which rank, and where
#include "trainer/dist/ranks.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "tests/dist/communicator_checks.h"
#include "trainer/dist/agree.h"
#include "trainer/dist/nccl.h"
#include "trainer/dist/rank_gpu.h"

using namespace spikesink;
using namespace std::chrono_literals;

namespace {

constexpr double kTimeout = 4;  // seconds

/// Sums, gathers and exchanges until another rank has failed, or `steps` are done.
void train(const Stream& stream, Communicator& communicator, int steps) {
  const std::int64_t n = 300000;
  const Tensor part = stream.zeros({n}, DType::kF32), whole = stream.zeros({n * communicator.world()}, DType::kF32);
  for (int step = 0; step < steps; ++step) {
    communicator.reduce_scatter(stream, part, whole);
    communicator.all_gather(stream, whole, part).wait(stream);
    stream.on_host(whole);
    communicator.barrier();
  }
}

void run(const std::string& name, int guilty, bool on_cuda, Ranks& ranks) {
  ranks.set_timeout(kTimeout);
  const Stream stream = on_cuda ? Stream::cuda(gpu_of_rank(ranks)) : Stream::cpu(1);
  const auto owned = ranks.communicator(stream);
  Communicator& communicator = *owned;
  const bool is_guilty = ranks.rank() == guilty;
  if (name == "checks") {
    const auto problems = test::CommunicatorChecks(communicator, stream).run();
    std::string text;
    for (const std::string& problem : problems) text += problem + "\n";
    if (!problems.empty()) throw DataError(text);
    std::printf("rank %d of %d, %d of %d on its node\n", ranks.rank(), ranks.world(), ranks.local_rank(),
                ranks.local_world());
  } else if (name == "large") {  // parts of more than one message
    const std::int64_t n = 5000011;
    const Tensor whole = stream.zeros({n * ranks.world()}, DType::kF32), mine = whole.slice(ranks.rank() * n, {n});
    for (std::int64_t i = 0; i < n; ++i) mine.data<float>()[i] = static_cast<float>(i % 1000 + ranks.rank());
    communicator.all_gather(stream, whole, mine).wait(stream);
    for (std::int64_t i = 0; i < whole.numel(); ++i)
      require(whole.data<float>()[i] == static_cast<float>(i % n % 1000 + i / n), "element ", i);
  } else if (name == "throws") {
    train(stream, communicator, 3);
    if (is_guilty) throw DataError("shard 7: gone");
    train(stream, communicator, 1000000);
  } else if (name == "throws_with_transfers") {  // of which the memory is gone before they are
    const Tensor part = stream.zeros({4000000}, DType::kF32);
    const Tensor whole = stream.zeros({4000000 * ranks.world()}, DType::kF32);
    if (ranks.rank() == (guilty + 1) % ranks.world()) communicator.barrier();  // which is for nobody else yet
    communicator.all_gather(stream, whole, part);
    std::this_thread::sleep_for(200ms);
    if (is_guilty) throw DataError("shard 7: gone");
    communicator.barrier();
  } else if (name == "throws_late") {  // while the others are at the end
    if (is_guilty) {
      std::this_thread::sleep_for(500ms);
      throw DataError("shard 7: gone");
    }
  } else if (name == "all_throw") {
    throw UsageError("train.steps: none");
  } else if (name == "preempted") {
    throw Failure(ExitCode::kPreempted, "stopped by a signal");
  } else if (name == "hangs" || name == "is_stopped" || name == "dies") {
    train(stream, communicator, 3);
    if (is_guilty) {
      if (name == "is_stopped") std::raise(SIGSTOP);
      if (name == "dies") std::raise(SIGKILL);
      std::this_thread::sleep_for(3600s);
    }
    train(stream, communicator, 1000000);
  } else if (name == "stops_before_another") {  // which the others wait for in different operations
    const Tensor part = stream.zeros({1000}, DType::kF32), whole = stream.zeros({1000 * ranks.world()}, DType::kF32);
    if (is_guilty) std::raise(SIGSTOP);
    const Transfer gathered = communicator.all_gather(stream, whole, part);
    if (ranks.rank() == 1) gathered.wait(stream);
    communicator.barrier();
  } else if (name == "hangs_after_an_error") {  // of rank 1
    try {
      train(stream, communicator, 3);
      if (ranks.rank() == 1) throw DataError("shard 7: gone");
      train(stream, communicator, 1000000);
    } catch (const RankFailure&) {
      if (is_guilty) std::this_thread::sleep_for(3600s);
      throw;
    }
  } else if (name == "hangs_at_the_end") {
    if (is_guilty) std::this_thread::sleep_for(3600s);
  } else if (name == "slow") {  // slower than the timeout in all, but never silent for it
    for (int i = 0; i < 4; ++i) {
      if (is_guilty) std::this_thread::sleep_for(1500ms);
      train(stream, communicator, 1);
    }
  } else if (name == "opens_nccl") {
    if constexpr (kHasNccl) require_nccl();
    std::puts(kHasNccl ? "NCCL" : "a build without NCCL");
  } else if (name == "agree") {
    require(!all_true(communicator, !is_guilty) && all_true(communicator, true), "all_true");
    require(maximum(communicator, 1.5 * ranks.rank()) == 1.5 * (ranks.world() - 1), "maximum");
    const std::vector<int> squares = gather(communicator, ranks.rank() * ranks.rank());
    for (int r = 0; r < ranks.world(); ++r) require(squares[static_cast<std::size_t>(r)] == r * r, "gather");
    int calls = 0;
    rank_0_does(communicator, [&] { ++calls; });
    require(calls == (ranks.rank() == 0), "rank_0_does");
    std::string heard;
    try {
      rank_0_does(communicator, [] { throw DataError("latest: not there"); });
    } catch (const Failure& failure) {
      heard = failure.what();
      require(failure.code == ExitCode::kData, "rank_0_does: its exit code");
    }
    require(heard == "latest: not there", "rank_0_does: ", heard);
    communicator.barrier();
  } else {
    throw UsageError(name + ": no such case");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Ranks ranks;
    try {
      run(argc > 1 ? argv[1] : "checks", argc > 2 ? std::atoi(argv[2]) : 0, argc > 3 && argv[3] == std::string("cuda"),
          ranks);
      return static_cast<int>(ranks.conclude(ExitCode::kOk, ""));
    } catch (const Failure& failure) {
      return static_cast<int>(ranks.conclude(failure.code, failure.what()));
    } catch (const std::exception& error) {
      return static_cast<int>(ranks.conclude(ExitCode::kInternal, error.what()));
    }
  } catch (const Failure& failure) {
    std::fprintf(stderr, "spikesink: %s\n", failure.what());
    return static_cast<int>(failure.code);
  }
}
