#include "io/lock.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>

#include "scratch.h"

namespace spikesink {
using Catch::Matchers::StartsWith;

namespace {
std::string owner_line() {
  std::array<char, 256> host{};
  REQUIRE(gethostname(host.data(), host.size() - 1) == 0);
  return fmt::format("{} {}\n", getpid(), host.data());
}
}  // namespace

TEST_CASE("a folder that is in use is refused with its owner and the mend", "[io]") {
  const TempFolder folder;
  auto held = std::make_unique<FileLock>(folder / ".lock");
  CHECK(slurp(folder / ".lock") == owner_line());
  CHECK(message_of<UsageError>([&] { FileLock(folder / ".lock"); }) ==
        fmt::format("{}: in use by process {}; wait for it or choose another run.name", folder.path(), getpid()));
  const FileLock other(folder / "other.lock");  // of its own
  held.reset();
  CHECK(slurp(folder / ".lock").empty());
  const FileLock again(folder / ".lock");
  CHECK(slurp(folder / ".lock") == owner_line());
}

TEST_CASE("another process is kept out, and its death sets the folder free", "[io]") {
  const TempFolder folder;
  spill(folder / ".lock", "1234567890123 of a run long ago\n");
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const FileLock held(folder / ".lock");
    if (write(ready[1], "x", 1) != 1) _exit(1);
    while (true) pause();
  }
  char byte;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  const std::string message = message_of<UsageError>([&] { FileLock(folder / ".lock"); });
  CHECK_THAT(message, StartsWith(fmt::format("{}: in use by process {}; ", folder.path(), child)));
  REQUIRE(kill(child, SIGKILL) == 0);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  const FileLock free(folder / ".lock");
  CHECK(slurp(folder / ".lock") == owner_line());
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("an owner on another machine is named with it", "[io]") {
  const TempFolder folder;
  const FileLock held(folder / ".lock");
  std::ofstream(folder / ".lock") << "17 far.away\n";  // in place: another file would not be locked
  CHECK_THAT(message_of<UsageError>([&] { FileLock(folder / ".lock"); }),
             StartsWith(folder.path() + ": in use by process 17 on far.away; wait for it or "));
}

TEST_CASE("a lock in a folder that is not there says so", "[io]") {
  const TempFolder folder;
  CHECK_THAT(message_of([&] { FileLock(folder / "no/.lock"); }),
             StartsWith((folder / "no/.lock") + ": cannot be opened"));
}

}  // namespace spikesink
