#include "trainer/metrics_follower.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/trainer/support.h"

namespace spikesink {
namespace {
constexpr double kLong = 60;

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
std::vector<std::string> shell(const std::string& line) { return {"sh", "-c", line}; }

std::string news_of(MetricsFollower& follower) {
  for (int i = 0; i < 6000; ++i) {
    if (const auto news = follower.news()) return *news;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return "no news";
}

TEST_CASE("a follower is told the end, and waited for", "[trainer]") {
  const test::TemporaryFolder home;
  MetricsFollower follower(shell("read word; echo told: $word; cat; echo all"), home / "log");
  CHECK_FALSE(follower.news());
  CHECK_FALSE(follower.end(kLong, true));
  CHECK(contents(home / "log") == "told: end\nall\n");
}

TEST_CASE("a follower is not told the end of a step that awaits the resume", "[trainer]") {
  const test::TemporaryFolder home;
  MetricsFollower follower(shell("read word || echo no word; echo all"), home / "log");
  CHECK_FALSE(follower.end(kLong, false));
  CHECK(contents(home / "log") == "no word\nall\n");
}

TEST_CASE("a follower that ends by itself is said once, with its last words", "[trainer]") {
  const test::TemporaryFolder home;
  MetricsFollower follower(shell("echo first; echo no network >&2; echo; exit 3"), home / "log");
  const std::string news = news_of(follower);
  CHECK_THAT(news, Catch::Contains("ended with exit code 3: no network; see " + home.path() + "/log"));
  CHECK_FALSE(follower.news());
  CHECK_FALSE(follower.end(kLong, true));
}

TEST_CASE("a follower that fails at the end, or takes long, is said", "[trainer]") {
  const test::TemporaryFolder home;
  MetricsFollower fails(shell("read word; echo refused; kill -9 $$"), home / "fails");
  CHECK_THAT(fails.end(kLong, true).value(), Catch::Contains("ended with signal 9: refused"));
  MetricsFollower slow(shell("read word; read more; echo late"), home / "slow");
  CHECK_THAT(slow.end(0, true).value(), Catch::Contains("still being sent, by process"));
  CHECK_FALSE(slow.end(kLong, true));  // no longer this run's
}

TEST_CASE("a follower that cannot be started is said once", "[trainer]") {
  const test::TemporaryFolder home;
  MetricsFollower follower({"no-such-program"}, home / "log");
  CHECK_THAT(news_of(follower), Catch::Contains("no-such-program cannot be started: No such file"));
  CHECK_FALSE(follower.news());
  MetricsFollower nowhere(shell("true"), home / "none/log");
  CHECK_THAT(nowhere.end(kLong, true).value(), Catch::Contains("cannot be started"));
}

TEST_CASE("a follower is out of reach of what stops the run", "[trainer]") {
  const test::TemporaryFolder home;
  MetricsFollower follower(shell("exec ps -o sid=,pid= -p $$"), home / "session");
  CHECK_FALSE(follower.end(kLong, true));
  std::ifstream log(home / "session");
  int session = 0, process = -1;
  log >> session >> process;
  CHECK(session == process);
  MetricsFollower signals({"grep", "SigBlk", "/proc/self/status"}, home / "signals");
  CHECK_FALSE(signals.end(kLong, true));
  CHECK(contents(home / "signals") == "SigBlk:\t0000000000000203\n");  // HUP 1, INT 2, USR1 10: a bit each, from 0
}

}  // namespace
}  // namespace spikesink
