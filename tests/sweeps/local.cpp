#include "sweeps/local.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>

#include "../io/scratch.h"
#include "io/failure.h"
#include "sweeps/child.h"

namespace spikesink {
namespace {

int code_of(Child& child) {
  while (true) {
    if (const auto code = child.ended()) return *code;
    usleep(1000);
  }
}

TEST_CASE("a child's words are appended to a file, with our environment and its own", "[sweeps]") {
  const TempFolder folder;
  spill(folder / "out", "before\n");
  setenv("SPIKESINK_TEST_A", "ours", 1);
  setenv("SPIKESINK_TEST_B", "ours", 1);
  Child child({"sh", "-c", "cat; echo $SPIKESINK_TEST_A $SPIKESINK_TEST_B; echo error >&2; exit 7"},
              {"SPIKESINK_TEST_B=its own"}, folder / "out");
  CHECK(code_of(child) == 7);
  CHECK(slurp(folder / "out") == "before\nours its own\nerror\n");
}

TEST_CASE("a child that a signal ends has the shell's code for it", "[sweeps]") {
  const TempFolder folder;
  Child child({"sleep", "60"}, {}, folder / "out");
  CHECK(getpgid(child.id()) == child.id());  // so that Ctrl-C comes to us alone
  CHECK(!child.ended());
  child.stop();
  CHECK(code_of(child) == 128 + SIGUSR1);
}

TEST_CASE("a child is stopped and waited for where it is left", "[sweeps]") {
  const TempFolder folder;
  {
    const Child child({"sh", "-c", "trap 'echo told; exit' USR1; echo begun; while :; do sleep 0.01; done"}, {},
                      folder / "out");
    while (slurp(folder / "out").empty()) usleep(1000);
  }
  CHECK(slurp(folder / "out") == "begun\ntold\n");
}

TEST_CASE("a program that is not there", "[sweeps]") {
  const TempFolder folder;
  CHECK(message_of<UsageError>([&] { Child({"no_such_program"}, {}, folder / "out"); }) ==
        "no_such_program: cannot be started: No such file or directory");
}

TEST_CASE("jobs have equal shares of the GPUs, or share them", "[sweeps]") {
  CHECK(share_of_gpus({"0", "1", "2", "3"}, 2, 0) == "0,1");
  CHECK(share_of_gpus({"0", "1", "2", "3"}, 2, 1) == "2,3");
  CHECK(share_of_gpus({"4", "GPU-a", "7"}, 2, 0) == "4");
  CHECK(share_of_gpus({"4", "GPU-a", "7"}, 2, 1) == "GPU-a,7");
  CHECK(share_of_gpus({"0", "1"}, 3, 2) == "0");
  CHECK(share_of_gpus({"0", "1"}, 2, 3) == "1");  // the fourth command of a dry run
}

/// One row of a config that names a device.
Sweep sweep_of(const std::string& dir, std::int64_t jobs, std::int64_t ranks) {
  Sweep sweep{.file = "s.yaml", .name = "s", .dir = dir};
  sweep.rows.push_back({.name = "a", .label = "a", .paper = {}, .axes = {}, .runs = {{.name = "a", .config = {}}}});
  sweep.rows[0].runs[0].config.system.device = DeviceChoice::kCpu;
  sweep.local = {.jobs = jobs, .ranks = ranks};
  return sweep;
}

TEST_CASE("the commands of a dry run are a shell's", "[sweeps]") {
  const auto lines = [](const Sweep& sweep) {
    const SweepFolder folder(sweep.folder());
    return local_commands(sweep, folder, {.start = {&sweep.rows[0].runs[0]}, .finished = {}, .busy = {}, .refused = {}},
                          "/opt/a program");
  };
  CHECK(lines(sweep_of("it's", 1, 1)) ==
        std::vector<std::string>{"'/opt/a program' train 'it'\\''s/s/configs/a.yaml' --resume "
                                 ">>'it'\\''s/s/output/a.txt' 2>&1"});
  setenv("OMP_NUM_THREADS", "1", 1);
  CHECK(lines(sweep_of("d", 2, 3)) ==
        std::vector<std::string>{"mpirun -np 3 --bind-to none '/opt/a program' train d/s/configs/a.yaml --resume "
                                 ">>d/s/output/a.txt 2>&1"});
  unsetenv("OMP_NUM_THREADS");
  CHECK(lines(sweep_of("d", 1000, 1)).front().starts_with("OMP_NUM_THREADS=1 '/opt/a program'"));
}

}  // namespace
}  // namespace spikesink
