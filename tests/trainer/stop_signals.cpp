#include "trainer/stop_signals.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "io/failure.h"

namespace spikesink {
namespace {

/// How a process ends that does this and then exits with 7: its exit code, or 128 + the signal.
template <class F>
int end_of(F&& f) {
  const pid_t child = fork();
  if (child == 0) {
    f();
    _exit(7);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_CASE("before there is anything to save a stop signal ends the program with 75", "[trainer][signals]") {
  const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGUSR1);
  CAPTURE(signal);
  CHECK(end_of([&] {
          dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
          end_at_stop_signals();
          raise(signal);
        }) == static_cast<int>(ExitCode::kPreempted));
}

TEST_CASE("a stop signal while the program is about to end by itself leaves its exit code", "[trainer][signals]") {
  const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP, SIGUSR1);
  CAPTURE(signal);
  CHECK(end_of([&] {
          end_at_stop_signals();
          end_despite_stop_signals();
          raise(signal);
        }) == (signal == SIGINT ? 128 + SIGINT : 7));
}

TEST_CASE("a stop signal that comes again, even when the loop is over, leaves the exit code; SIGINT ends it at once",
          "[trainer][signals]") {
  const auto [first, second, code] = GENERATE(table<int, int, int>({{SIGTERM, SIGTERM, 7},
                                                                    {SIGHUP, SIGHUP, 7},
                                                                    {SIGUSR1, SIGUSR1, 7},
                                                                    {SIGINT, SIGTERM, 7},
                                                                    {SIGTERM, SIGINT, 7},
                                                                    {SIGINT, SIGINT, 128 + SIGINT}}));
  const bool over = GENERATE(false, true);
  CAPTURE(first, second, over);
  CHECK(end_of([&, first = first, second = second] {
          {
            const StopSignals signals;
            raise(first);
            if (!over) raise(second);
          }
          if (over) raise(second);
        }) == (over && second == SIGINT ? 128 + SIGINT : code));
}

TEST_CASE("what is started after the loop can be stopped", "[trainer][signals]") {
  CHECK(end_of([] {
          { const StopSignals signals; }
          execl("/bin/sh", "sh", "-c", "kill -TERM $$; exit 0", nullptr);
        }) == 128 + SIGTERM);
}

}  // namespace
}  // namespace spikesink
