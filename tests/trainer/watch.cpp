#include "trainer/dist/watch.h"

#include <array>
#include <catch2/catch.hpp>
#include <deque>
#include <thread>

using namespace spikesink;
using Catch::Matchers::Contains;

namespace {

/// Ranks that are threads and have nothing but news.
class Post {
 public:
  explicit Post(int world) : boxes_(static_cast<std::size_t>(world)) {}
  int world() const { return static_cast<int>(boxes_.size()); }
  void put(int from, int to, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    boxes_[static_cast<std::size_t>(to)].push_back({from, {bytes.begin(), bytes.end()}});
  }
  std::optional<Transport::News> take(int rank) {
    const std::lock_guard lock(mutex_);
    auto& box = boxes_[static_cast<std::size_t>(rank)];
    if (box.empty()) return std::nullopt;
    auto first = std::move(box.front());
    box.pop_front();
    return first;
  }

 private:
  std::mutex mutex_;
  std::vector<std::deque<Transport::News>> boxes_;
};

class NewsOnly final : public Transport {
 public:
  NewsOnly(Post& post, int rank) : post_(post), rank_(rank) {}
  int rank() const override { return rank_; }
  int world() const override { return post_.world(); }
  int local_rank() const override { return rank_; }
  int local_world() const override { return post_.world(); }
  std::unique_ptr<Messages> messages(Channel) override { throw ContractError("messages"); }
  void send_news(int to, std::span<const std::byte> bytes) override { post_.put(rank_, to, bytes); }
  std::optional<News> next_news() override { return post_.take(rank_); }
  void close() override {}
  void send_off() override {}
  [[noreturn]] void abort(int) override { std::abort(); }

 private:
  Post& post_;
  int rank_;
};

/// What each of three ranks hears that waits for a device, which is in operation 5, until `seconds` are over; `asked`
/// by rank, 0 for one that does not wait.
std::vector<std::string> heard_by(const std::array<std::int64_t, 3>& asked, double seconds) {
  Post post(3);
  std::vector<std::string> heard(3);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] {
      const auto me = static_cast<std::size_t>(rank);
      if (asked[me] == 0) return;
      NewsOnly transport(post, rank);
      Watch watch(transport);
      watch.set_timeout(2);
      const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
      try {
        watch.await_device(
            [&] { return std::chrono::steady_clock::now() > until; },
            [&] { return Watch::OnDevice{.asked = asked[me], .under_way = 5, .where = "in all_gather"}; });
      } catch (const Failure& failure) {
        heard[me] = failure.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return heard;
}

/// Messages of which none comes, or all at the look number `looks`.
struct Awaited final : Messages {
  explicit Awaited(std::vector<int> ranks, int looks = 0) : ranks_(std::move(ranks)), looks_(looks) {}
  void send(int, std::span<const std::byte>) override {}
  void receive(int, std::span<std::byte>) override {}
  std::size_t advance() override { return --looks_ == 0 ? 0 : ranks_.size(); }
  std::vector<int> missing() const override { return ranks_; }

 private:
  std::vector<int> ranks_;
  int looks_;
};

}  // namespace

TEST_CASE("of those that are missing, the one that waits for another itself is not named", "[dist]") {
  Post post(3);  // rank 2 hangs: rank 0 has its part of one operation, rank 1 has not
  std::string heard;
  std::thread stuck([&] {
    NewsOnly transport(post, 1);
    Watch watch(transport);
    watch.set_timeout(2.5);
    Awaited messages({2});
    try {
      watch.await(messages, "in all_gather");
    } catch (const Failure&) {
    }
  });
  NewsOnly transport(post, 0);
  Watch watch(transport);
  watch.set_timeout(2.5);
  Awaited messages({1, 2});
  try {
    watch.await(messages, "in exchange");
  } catch (const Failure& failure) {
    heard = failure.what();
  }
  stuck.join();
  CHECK_THAT(heard, Contains("no news of rank 2 for"));
}

TEST_CASE("what has come is taken, though a rank has failed since", "[dist]") {
  Post post(2);
  NewsOnly mine(post, 0), theirs(post, 1);
  Watch watch(mine), other(theirs);
  other.set_timeout(0.1);
  CHECK_THROWS_AS(other.end(ExitCode::kData, true, "shard 7: gone", [](int, const std::string&) {}), Failure);
  Awaited here({1}, 2), late({1}, 3);
  CHECK_NOTHROW(watch.await(here, "in exchange"));
  CHECK_THROWS_AS(watch.await(late, "in exchange"), RankFailure);
}

TEST_CASE("at its end a rank does not give up on rank 0, which waits for a third", "[dist]") {
  Post post(2);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(4000);
  std::thread rank_0([&] {
    NewsOnly transport(post, 0);
    Watch watch(transport);
    watch.set_timeout(5);  // it says every 1.25 s that it waits
    watch.await_device([&] { return std::chrono::steady_clock::now() > until; },
                       [] { return Watch::OnDevice{.asked = 6, .under_way = 5, .where = "in all_gather"}; });
    watch.end(ExitCode::kOk, false, "", [](int, const std::string&) {});
  });
  NewsOnly transport(post, 1);
  Watch watch(transport);
  watch.set_timeout(3);
  const auto end = [&] { return watch.end(ExitCode::kOk, false, "", [](int, const std::string&) {}); };
  CHECK(end() == ExitCode::kOk);
  rank_0.join();
}

TEST_CASE("a rank that does not come to an operation on the GPUs is named by those that wait in it", "[dist]") {
  const auto heard = heard_by({7, 0, 6}, 60);
  for (const int rank : {0, 2})
    CHECK_THAT(
        heard[static_cast<std::size_t>(rank)],
        Contains("no news of rank 1 for 2 s in all_gather; it is hanging; raise system.rank_timeout if only slow"));
}

TEST_CASE("of the ranks that have not come to an operation on the GPUs, those that wait too are not named", "[dist]") {
  CHECK_THAT(heard_by({6, 0, 5}, 60)[0], Contains("no news of rank 1 for 2 s"));
  CHECK_THAT(heard_by({6, 5, 5}, 60)[0], Contains("no news of ranks 1, 2 for 2 s"));
}

TEST_CASE("an operation on the GPUs that all ranks are in and that does not end is no rank's silence", "[dist]") {
  for (const std::string& heard : heard_by({6, 6, 6}, 60)) CHECK_THAT(heard, Contains("nothing moves in all_gather"));
}

TEST_CASE("a wait for a GPU that ends before the timeout, or makes progress, is no silence", "[dist]") {
  CHECK(heard_by({6, 0, 6}, 0.1) == std::vector<std::string>(3));

  Post post(2);
  NewsOnly transport(post, 0);
  Watch watch(transport);
  watch.set_timeout(0.2);
  const auto begin = std::chrono::steady_clock::now();
  const auto took = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  std::int64_t operation = 0;
  watch.await_device([&] { return took() > 0.5; },
                     [&] { return Watch::OnDevice{.asked = 9, .under_way = operation++, .where = "in all_gather"}; });
  watch.await_device([&] { return took() > 1; }, [] { return Watch::OnDevice{.asked = 9}; });  // it computes
  CHECK_FALSE(watch.silence());
}

TEST_CASE("who waits for a GPU hears that a rank has failed", "[dist]") {
  Post post(2);
  NewsOnly mine(post, 0), theirs(post, 1);
  Watch watch(mine), other(theirs);
  std::thread ends([&] {
    other.set_timeout(0.1);
    try {
      other.end(ExitCode::kData, /*own=*/true, "shard 7: gone", [](int, const std::string&) {});
    } catch (const Failure&) {  // nobody answers
    }
  });
  ends.join();
  CHECK_THROWS_WITH(watch.await_device([] { return false; }, [] { return Watch::OnDevice{}; }),
                    "rank 1 of 2: shard 7: gone");
}
