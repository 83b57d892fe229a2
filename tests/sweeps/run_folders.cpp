// The folders that configs/ gives a sweep's runs are those in which sweeps/ looks for them.
#include <catch2/catch.hpp>
#include <string>

#include "configs/sweep.h"
#include "sweeps/sweep_folder.h"
#include "tests/configs/folder.h"

namespace spikesink {
namespace {

TEST_CASE("a run's config names the folder in which the sweep looks for it", "[sweeps]") {
  const test::Folder files;
  files.write("base.yaml", "data: {train: [a.jsonl]}\ntrain: {steps: 3}\nrun: {name: other, dir: elsewhere}\n");
  files.write("s.yaml",
              "name: norms\ndir: some/where\nbase: base.yaml\nseeds: [1, 20]\nrows: [{name: a}, {name: b}]\n");
  const Sweep sweep = read_sweep(files.path("s.yaml"));
  const SweepFolder folder(sweep.folder());
  int runs = 0;
  for (const SweepRow& row : sweep.rows)
    for (const SweepRun& run : row.runs) {
      ++runs;
      CHECK(run.config.run.dir + "/" + run.config.run.name == folder.run(run.name).path());
    }
  CHECK(runs == 4);
}

}  // namespace
}  // namespace spikesink
