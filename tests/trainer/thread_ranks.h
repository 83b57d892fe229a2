#pragma once
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "trainer/dist/communicator.h"
#include "trainer/dist/rank_sum.h"

// Ranks as threads of a test, whose Communicator is as lazy and as early as the contract lets one be. On each rank an
// operation begins at a random moment after the call and after the operation before it: what it reads is taken then,
// and what it writes becomes NaN. It ends at a random moment after all ranks have begun it, at the latest when it is
// waited for. So a missing wait, a source that is written too early, or a target that is read or lent too early gives
// wrong numbers. For CPU streams.
namespace spikesink::test {

class ThreadRanks {
 public:
  ThreadRanks(int world, std::uint64_t seed) : world_(world), ranks_(static_cast<std::size_t>(world)), random_(seed) {}

  int world() const { return world_; }

  enum class Kind { kReduceScatter, kAllGather, kAllReduce, kExchange, kFromRank0 };
  static constexpr std::string_view name_of(Kind kind) {
    constexpr std::string_view kNames[] = {"reduce_scatter", "all_gather", "all_reduce", "exchange", "from_rank_0"};
    return kNames[static_cast<int>(kind)];
  }

  Transfer call(int rank, Kind kind, const Tensor& to, const Tensor& from) {
    const std::lock_guard lock(mutex_);
    const std::size_t index = of(rank).calls.size();
    of(rank).calls.push_back({.kind = kind, .to = to, .from = from});
    stir();
    changed_.notify_all();
    return Transfer([this, rank, index](const Stream&) { wait(rank, index); });
  }

  std::vector<std::byte> exchange(int rank, Kind kind, std::span<const std::byte> given) {
    std::unique_lock lock(mutex_);
    const std::size_t index = of(rank).exchanges.size();
    of(rank).exchanges.push_back({.kind = kind, .given = {given.begin(), given.end()}});
    stir();
    changed_.notify_all();
    std::vector<std::byte> all;
    for (int r = 0; r < (kind == Kind::kExchange ? world_ : 1); ++r) {
      const auto& theirs = of(r).exchanges;
      await(
          lock, rank, name_of(kind), [&] { return theirs.size() > index; }, [&](int other) { return other == r; });
      const auto& [their_kind, bytes] = theirs[index];
      require(their_kind == kind, name_of(kind), " of rank ", rank, " meets ", name_of(their_kind), " of rank ", r);
      require(kind == Kind::kFromRank0 || bytes.size() == given.size(), "exchange: ", given.size(), " bytes of rank ",
              rank, ", ", bytes.size(), " of rank ", r);
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }

  /// Rank `rank` has left its function, with an error or without.
  void leave(int rank, std::exception_ptr error, ExitCode code, const std::string& message) {
    const std::lock_guard lock(mutex_);
    left_.push_back(rank);
    if (error && !error_) {
      error_ = error;
      failure_.emplace(code, rank, world_, message);
    }
    changed_.notify_all();
  }
  std::exception_ptr error() const { return error_; }

 private:
  struct Call {
    Kind kind;
    Tensor to, from;  ///< until it has ended
    std::int64_t count = to.numel();
    DType given = from.dtype();
    std::vector<std::byte> taken = {};  ///< the bytes of `from`, until all have ended
    bool begun = false;
  };
  struct Exchange {
    Kind kind;
    std::vector<std::byte> given;
  };
  static constexpr std::chrono::seconds kPatience{120};  ///< after which a test hangs

  struct Rank {
    std::deque<Call> calls;
    std::size_t num_ended = 0;
    std::vector<Exchange> exchanges;
  };

  Rank& of(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }

  /// Takes the next half of an operation that `rank` can take; false if there is none.
  bool advance(int rank) {
    Rank& mine = of(rank);
    const std::size_t index = mine.num_ended;
    if (failure_ || index == mine.calls.size()) return false;
    Call& call = mine.calls[index];
    if (!call.begun) {
      call.taken.assign(call.from.raw(), call.from.raw() + call.from.bytes());
      std::memset(call.to.raw(), 0xff, static_cast<std::size_t>(call.to.bytes()));  // NaN in every dtype
      return call.begun = true;
    }
    const auto begun = [&](const Rank& r) { return r.calls.size() > index && r.calls[index].begun; };
    if (!std::ranges::all_of(ranks_, begun)) return false;
    end(rank, index);
    call.to = call.from = {};
    ++mine.num_ended;
    if (std::ranges::all_of(ranks_, [&](const Rank& r) { return r.num_ended > index; }))
      for (Rank& r : ranks_) r.calls[index].taken = {};
    return true;
  }

  void end(int rank, std::size_t index) {
    const Call& mine = of(rank).calls[index];
    for (int r = 0; r < world_; ++r) {
      const Call& theirs = of(r).calls[index];
      require(theirs.kind == mine.kind && theirs.count == mine.count && theirs.given == mine.given, name_of(mine.kind),
              " of rank ", rank, " with ", mine.count, " elements meets ", name_of(theirs.kind), " of rank ", r,
              " with ", theirs.count);
      const std::byte* part = theirs.taken.data();
      if (mine.kind == Kind::kAllGather) {
        std::memcpy(mine.to.raw() + r * std::ssize(theirs.taken), part, theirs.taken.size());
        continue;
      }
      if (mine.kind == Kind::kReduceScatter) part += rank * mine.count * size_of(mine.given);
      (r == 0 ? take_part : add_part)(mine.to, 0, mine.count, part, mine.given);
    }
  }

  /// Some of what could happen now happens.
  void stir() {
    while (random_() % 3 != 0) advance(static_cast<int>(random_() % static_cast<unsigned>(world_)));
  }

  void wait(int rank, std::size_t index) {
    std::unique_lock lock(mutex_);
    const auto advanced = [&] {
      if (advance(rank)) return true;
      const int first = static_cast<int>(random_() % static_cast<unsigned>(world_));
      for (int i = 0; i < world_; ++i)
        if (advance((first + i) % world_)) return true;
      return false;
    };
    const auto ended = [&] { return of(rank).num_ended > index; };
    while (!ended())
      await(
          lock, rank, name_of(of(rank).calls[index].kind), [&] { return ended() || advanced(); },
          [&](int other) { return of(other).calls.size() <= index; });
  }

  /// Waits until `holds`. What cannot come any more is an error: a rank that is missing, of which `missing(rank)`
  /// tells, has left.
  template <class Holds, class Missing>
  void await(std::unique_lock<std::mutex>& lock, int rank, std::string_view what, Holds holds, Missing missing) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!holds()) {
      if (failure_) throw *failure_;
      for (const int other : left_)
        require(!missing(other), "rank ", rank, " waits in ", what, " for rank ", other, ", which has returned");
      require(changed_.wait_until(lock, until) == std::cv_status::no_timeout, "rank ", rank, " waits in ", what,
              " for ever");
    }
    changed_.notify_all();
  }

  const int world_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Rank> ranks_;
  std::mt19937_64 random_;
  std::vector<int> left_;
  std::exception_ptr error_;
  std::optional<RankFailure> failure_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(ThreadRanks& ranks, int rank) : ranks_(ranks), rank_(rank) {}
  int rank() const override { return rank_; }
  int world() const override { return ranks_.world(); }

  Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) override {
    begin_reduce_scatter(stream, to, from);
    return call(stream, ThreadRanks::Kind::kReduceScatter, to, from);
  }
  Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) override {
    begin_all_gather(stream, to, from);
    return call(stream, ThreadRanks::Kind::kAllGather, to, from);
  }
  Transfer all_reduce(const Stream& stream, const Tensor& t) override {
    begin_all_reduce(stream, t);
    return call(stream, ThreadRanks::Kind::kAllReduce, t, t);
  }
  std::vector<std::byte> exchange(std::span<const std::byte> mine) override {
    return ranks_.exchange(rank_, ThreadRanks::Kind::kExchange, mine);
  }
  std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override {
    return ranks_.exchange(rank_, ThreadRanks::Kind::kFromRank0, text);
  }

 private:
  Transfer call(const Stream& stream, ThreadRanks::Kind kind, const Tensor& to, const Tensor& from) {
    require(stream.device == Device::kCpu && !stream.dry, "thread ranks: a dry stream or one of ",
            name_of(stream.device));
    return ranks_.call(rank_, kind, to, from);
  }

  ThreadRanks& ranks_;
  int rank_;
};

/// Runs f(Communicator&) on `world` ranks, a thread each, and throws what the first of them threw. Catch2's CHECK is
/// not for threads: collect what they find, by rank, and check it after. Another seed, another order of events.
template <class F>
void run_ranks(int world, F f, std::uint64_t seed = 1) {
  ThreadRanks ranks(world, seed);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank)
    threads.emplace_back([&, rank] {
      ThreadCommunicator communicator(ranks, rank);
      try {
        f(static_cast<Communicator&>(communicator));
        ranks.leave(rank, nullptr, ExitCode::kOk, {});
      } catch (const Failure& failure) {
        ranks.leave(rank, std::current_exception(), failure.code, failure.what());
      } catch (const std::exception& error) {
        ranks.leave(rank, std::current_exception(), ExitCode::kInternal, error.what());
      } catch (...) {
        ranks.leave(rank, std::current_exception(), ExitCode::kInternal, "not a std::exception");
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (ranks.error()) std::rethrow_exception(ranks.error());
}

}  // namespace spikesink::test
