#include "configs/sweep.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "configs/writer.h"
#include "tests/configs/folder.h"

namespace spikesink {
namespace {

using Strings = std::vector<std::string>;

constexpr const char* kBase = "data: {train: [a.jsonl]}\ntrain: {steps: 3}\n";

Strings run_names(const Sweep& sweep) {
  Strings names;
  for (const SweepRow& row : sweep.rows)
    for (const SweepRun& run : row.runs) names.push_back(run.name);
  return names;
}

TEST_CASE("a sweep of rows and seeds is read with the configs of its runs", "[configs]") {
  const test::Folder folder;
  folder.write("base.yaml", kBase);
  folder.write("other.yaml", "extends: base.yaml\nmodel: {d_model: 512}\n");
  folder.write("s.yaml",
               "name: norms\nbase: base.yaml\nset: {train: {steps: 9}}\nseeds: [4, 7]\nrows:\n"
               "  - {name: pre_norm, label: Pre-norm, paper: {perplexity: 10.1, sink_ratio: 46.0, spike: 3818}}\n"
               "  - {name: other, config: other.yaml, set: {model: {norm: {output: true}}}}\n");
  const Sweep sweep = read_sweep(folder.path("s.yaml"));
  CHECK(sweep.name == "norms");
  CHECK(sweep.folder() == "runs/sweeps/norms");
  CHECK(sweep.title == "norms");
  CHECK(sweep.baseline == "pre_norm");
  CHECK(run_names(sweep) == Strings{"pre_norm_seed4", "pre_norm_seed7", "other_seed4", "other_seed7"});
  CHECK(sweep.rows[0].label == "Pre-norm");
  CHECK(sweep.rows[1].label == "other");
  REQUIRE(sweep.rows[0].paper);
  CHECK(*sweep.rows[0].paper->sink_ratio == 46.0);
  const Config& config = sweep.rows[1].runs[1].config;
  CHECK(config.run.dir == "runs/sweeps/norms/runs");
  CHECK(config.run.name == "other_seed7");
  CHECK(config.run.seed == 7);
  CHECK(config.train.steps == 9);
  CHECK(config.model.d_model == 512);
  CHECK(config.model.norm.output);
}

}  // namespace
}  // namespace spikesink
