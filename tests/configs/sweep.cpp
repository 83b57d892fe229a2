// What a sweep file means. What is refused: sweep_refusals.cpp.
#include "configs/sweep.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "configs/schema.h"
#include "configs/sweep_keys.h"
#include "configs/sweep_rows.h"
#include "configs/sweep_writer.h"
#include "configs/writer.h"
#include "tests/configs/folder.h"

namespace spikesink {
namespace {

using Strings = std::vector<std::string>;

constexpr const char* kBaseFile = "data: {train: [a.jsonl]}\ntrain: {steps: 3}\n";

Strings row_names(const Sweep& sweep) {
  Strings names;
  for (const SweepRow& row : sweep.rows) names.push_back(row.name);
  return names;
}

Strings run_names(const Sweep& sweep) {
  Strings names;
  for (const SweepRow& row : sweep.rows)
    for (const SweepRun& run : row.runs) names.push_back(run.name);
  return names;
}

const Config& config_of(const Sweep& sweep, std::size_t row) { return sweep.rows.at(row).runs.at(0).config; }

Sweep read(const test::Folder& folder, const std::string& yaml, const Strings& overrides = {}) {
  folder.write("base.yaml", kBaseFile);
  return read_sweep(folder.write("s.yaml", yaml), overrides);
}

TEST_CASE("a sweep of rows and seeds is read with the configs of its runs", "[configs]") {
  const test::Folder folder;
  folder.write("other.yaml", "extends: base.yaml\nmodel: {d_model: 512}\nrun: {name: mine, dir: elsewhere, seed: 9}\n");
  const Sweep sweep = read(folder,
                           "name: norms\nbase: base.yaml\nset: {train: {steps: 9}}\nseeds: [4, 7]\nrows:\n"
                           "  - {name: pre_norm, label: Pre-norm, paper: {perplexity: 10.1, spike: 3818}}\n"
                           "  - {name: other, config: other.yaml, set: {model: {norm: {output: true}}}}\n");
  CHECK(sweep.file == folder.path("s.yaml"));
  CHECK(sweep.name == "norms");
  CHECK(sweep.folder() == "runs/sweeps/norms");
  CHECK(sweep.title == "norms");
  CHECK(sweep.baseline == "pre_norm");
  CHECK(run_names(sweep) == Strings{"pre_norm_seed4", "pre_norm_seed7", "other_seed4", "other_seed7"});
  CHECK(sweep.rows[0].label == "Pre-norm");
  CHECK(sweep.rows[1].label == "other");
  REQUIRE(sweep.rows[0].paper);
  CHECK(sweep.rows[0].paper->perplexity == 10.1);
  CHECK_FALSE(sweep.rows[0].paper->sink_ratio);
  CHECK(sweep.rows[0].paper->spike == 3818);
  CHECK_FALSE(sweep.rows[1].paper);
  CHECK(sweep.rows[0].axes.empty());
  const Config& config = sweep.rows[1].runs[1].config;
  CHECK(config.run.dir == "runs/sweeps/norms/runs");
  CHECK(config.run.name == "other_seed7");
  CHECK(config.run.seed == 7);
  CHECK(sweep.rows[1].runs[1].seed == 7);
  CHECK(config.train.steps == 9);
  CHECK(config.model.d_model == 512);
  CHECK(config.model.norm.output);
  CHECK_FALSE(config_of(sweep, 0).model.norm.output);
}

TEST_CASE("without seeds a row is one run, with the seed of its config", "[configs]") {
  const test::Folder folder;
  const Sweep sweep = read(folder, "base: base.yaml\nrows: [{name: a, set: {run: {seed: 5}}}, {name: b}]\n");
  CHECK(run_names(sweep) == Strings{"a", "b"});
  CHECK(sweep.rows[0].runs[0].seed == 5);
  CHECK(config_of(sweep, 0).run.seed == 5);
  CHECK(sweep.rows[1].runs[0].seed == 1);
  CHECK(sweep.name == "s");  // the file's
}

TEST_CASE("a row whose config cannot be says why, and has no runs; the others stay", "[configs]") {
  const test::Folder folder;
  const Sweep sweep = read(folder,
                           "base: base.yaml\nseeds: [1, 2]\nrows:\n- {name: a}\n"
                           "- {name: b, set: {model: {context: 0}}}\n- {name: c, config: gone.yaml}\n");
  CHECK(run_names(sweep) == Strings{"a_seed1", "a_seed2"});
  REQUIRE(sweep.rows.size() == 3);
  CHECK(sweep.rows[0].refusal.empty());
  CHECK_THAT(sweep.rows[1].refusal, Catch::Matchers::EndsWith("s.yaml:5: row b: model.context: 0, must be at least 2"));
  CHECK_THAT(sweep.rows[2].refusal, Catch::Matchers::Contains("s.yaml:6: row c: config: "));
  CHECK_THAT(sweep.rows[2].refusal, Catch::Matchers::Contains("gone.yaml: no such file"));
}

TEST_CASE("rows x zip x grid, the last axis fastest", "[configs]") {
  const test::Folder folder;
  const Sweep sweep = read(folder,
                           "base: base.yaml\nrows: [{name: a, label: A, paper: {spike: 1}}, {name: b}]\n"
                           "grid: {model.attention.d_head: [8, 16]}\n"
                           "zip: {model.context: [64, 128], train.micro_batch: [2, 1]}\n");
  CHECK(row_names(sweep) == Strings{"a_context_64_micro_batch_2_d_head_8", "a_context_64_micro_batch_2_d_head_16",
                                    "a_context_128_micro_batch_1_d_head_8", "a_context_128_micro_batch_1_d_head_16",
                                    "b_context_64_micro_batch_2_d_head_8", "b_context_64_micro_batch_2_d_head_16",
                                    "b_context_128_micro_batch_1_d_head_8", "b_context_128_micro_batch_1_d_head_16"});
  const SweepRow& row = sweep.rows[2];
  CHECK(row.label == "A, context 128, micro_batch 1, d_head 8");
  CHECK_FALSE(row.paper);  // the paper's row had no axes
  CHECK(row.axes == std::vector<std::pair<std::string, std::string>>{
                        {"model.context", "128"}, {"train.micro_batch", "1"}, {"model.attention.d_head", "8"}});
  CHECK(config_of(sweep, 2).model.context == 128);
  CHECK(config_of(sweep, 2).train.micro_batch == 1);
  CHECK(config_of(sweep, 2).model.attention.d_head == 8);
}

TEST_CASE("rows of axes are named by the last word of the key and a value that files may be called", "[configs]") {
  const test::Folder folder;
  const auto [axes, names] = GENERATE(table<std::string, Strings>({
      {"grid: {train.optimizer.lr: [3e-4, 1.0E+3]}", {"lr_3e-4", "lr_1.0E+3"}},
      {"grid: {train.optimizer.betas: [[0.9, 0.95], [0.9, 0.999]]}", {"betas_0.9_0.95", "betas_0.9_0.999"}},
      {"grid: {data.train: [[\"d/*.jsonl\"], [\"a b.jsonl\"]]}", {"train_d__.jsonl", "train_a_b.jsonl"}},
      {"grid: {data.validation: [[], [v.jsonl]]}", {"validation_none", "validation_v.jsonl"}},
      {"grid: {model.norm.output: [true, false]}", {"output_true", "output_false"}},
      // two axes that end in the same word
      {"grid: {model.norm.kind: [rmsnorm], model.ffn.kind: [gelu, linear]}",
       {"norm_kind_rmsnorm_ffn_kind_gelu", "norm_kind_rmsnorm_ffn_kind_linear"}},
      {"zip: {model.norm.eps: [1e-5]}\ngrid: {train.optimizer.eps: [1e-8], model.context: [64]}",
       {"norm_eps_1e-5_optimizer_eps_1e-8_context_64"}},
  }));
  CHECK(row_names(read(folder, "base: base.yaml\n" + axes + "\n")) == names);
}

TEST_CASE("what is said later counts: config, set, the row's set, axes, --set, seeds", "[configs]") {
  const test::Folder folder;
  const Sweep sweep = read(folder,
                           "base: base.yaml\nseeds: [8]\nset: {model: {n_layers: 2, d_model: 32}}\n"
                           "rows: [{name: a, set: {model: {n_layers: 3, d_model: 64}}}, {name: b}]\n"
                           "grid: {model.context: [200, 300]}\n",
                           {"model.d_model=128", "train.micro_batch=2", "seeds=[6]"});
  CHECK(config_of(sweep, 0).train.steps == 3);
  CHECK(config_of(sweep, 0).model.n_layers == 3);
  CHECK(config_of(sweep, 2).model.n_layers == 2);
  CHECK(config_of(sweep, 0).model.context == 200);
  CHECK(config_of(sweep, 0).model.d_model == 128);
  CHECK(config_of(sweep, 2).train.micro_batch == 2);
  CHECK(config_of(sweep, 0).run.seed == 6);
}

TEST_CASE("of two keys for one thing the later counts, and useless keys of weaker layers are dropped", "[configs]") {
  const test::Folder folder;
  const Sweep sweep = read(folder,
                           "base: base.yaml\nset: {train: {tokens: 1e6}, model: {norm: {eps: 1e-6}}}\nrows:\n"
                           "  - {name: a}\n  - {name: b, set: {train: {steps: 7}}}\n"
                           "  - {name: c, set: {model: {norm: {kind: dynamic_tanh}}}}\n");
  CHECK(config_of(sweep, 0).train.tokens == 1e6);
  CHECK_FALSE(config_of(sweep, 0).train.steps);
  CHECK(config_of(sweep, 1).train.steps == 7);
  CHECK_FALSE(config_of(sweep, 1).train.tokens);
  CHECK(config_of(sweep, 0).model.norm.eps == 1e-6);
  CHECK(write_config(config_of(sweep, 2)).find("eps: 1e-06") == std::string::npos);
  const Sweep short_one = read_sweep(folder.path("s.yaml"), {"train.steps=2"});
  for (std::size_t i = 0; i < 3; ++i) CHECK(config_of(short_one, i).train.steps == 2);
}

TEST_CASE("--set names keys of a config or of the sweep", "[configs]") {
  const test::Folder folder;
  folder.write("other/base.yaml", "data: {train: [b.jsonl]}\ntrain: {steps: 4}\n");
  const std::string yaml = "base: base.yaml\nslurm: {partition: gpu}\nrows: [{name: a}, {name: b}]\n";
  const Sweep sweep = read(folder, yaml,
                           {"name=mine", "dir=/tmp/x", "title=T", "baseline=b", "slurm.time=1-00", "slurm={nodes: 2}",
                            "local.jobs=3", "model.context=64", "grid={model.n_layers: [1, 2]}",
                            "baseline=b_n_layers_2", "configs=" + folder.path("other")});
  CHECK(sweep.folder() == "/tmp/x/mine");
  CHECK(sweep.title == "T");
  CHECK(sweep.baseline == "b_n_layers_2");
  CHECK(sweep.slurm.time == "1-00");
  CHECK(sweep.slurm.nodes == 2);
  CHECK(sweep.slurm.partition == "gpu");
  CHECK(sweep.local.jobs == 3);
  CHECK(row_names(sweep) == Strings{"a_n_layers_1", "a_n_layers_2", "b_n_layers_1", "b_n_layers_2"});
  CHECK(config_of(sweep, 3).model.context == 64);
  CHECK(config_of(sweep, 3).run.dir == "/tmp/x/mine/runs");
  CHECK(config_of(sweep, 3).train.steps == 4);  // of the other folder
}

TEST_CASE("a sweep that extends another merges maps, replaces the rest and has a name of its own", "[configs]") {
  const test::Folder folder;
  folder.write("base.yaml", kBaseFile);
  folder.write("a.yaml",
               "name: a\ntitle: A\nbase: base.yaml\nseeds: [1, 2]\nset: {train: {steps: 5}, model: {context: 64}}\n"
               "slurm: {partition: gpu, nodes: 2, extra: [--x, --y]}\nlocal: {jobs: 2}\n"
               "rows: [{name: one}, {name: two}]\nzip: {model.n_layers: [1, 2]}\n");
  folder.write("b.yaml", "seeds: []\ntitle: B\nslurm: {nodes: 3}\n");
  const Sweep sweep = read_sweep(folder.write("c.yaml",
                                              "rows: [{name: three}]\nextends: [a.yaml, b.yaml]\nzip: {}\n"
                                              "set: {model: {context: 32}}\nslurm: {extra: [--z]}\n"));
  CHECK(sweep.name == "c");
  CHECK(sweep.title == "B");
  CHECK(run_names(sweep) == Strings{"three"});
  CHECK(config_of(sweep, 0).train.steps == 5);
  CHECK(config_of(sweep, 0).model.context == 32);
  CHECK(sweep.slurm.partition == "gpu");
  CHECK(sweep.slurm.nodes == 3);
  CHECK(sweep.slurm.extra == Strings{"--z"});
  CHECK(sweep.local.jobs == 2);
}

TEST_CASE("what is of no use here is no mistake if it comes from a sweep that is extended", "[configs]") {
  const test::Folder folder;
  folder.write("gates.yaml", "set: {model: {ffn: {gelu: tanh}}}\nslurm: {gpus_per_node: 8}\n");
  const Sweep sweep =
      read(folder, "extends: gates.yaml\nbase: base.yaml\nrows: [{name: a}]\nslurm: {gpus_per_node: 0}\n");
  CHECK(sweep.rows.size() == 1);
  CHECK_FALSE(sweep.slurm.gpus_per_node);
}

TEST_CASE("paths are relative to the file that they stand in, and configs moves all", "[configs]") {
  const test::Folder folder;
  for (const std::string name : {"big/base", "big/row", "small/base", "small/row"})
    folder.write(name + ".yaml", kBaseFile + std::string("run: {seed: ") + std::to_string(name.size()) + "}\n");
  const std::string rows = "base: base.yaml\nrows: [{name: a}, {name: b, config: row.yaml}]\n";

  folder.write("sweeps/of/big.yaml", "configs: ../../big\nslurm: {template: t.sh}\n" + rows);
  const Sweep big = read_sweep(folder.path("sweeps/of/big.yaml"));
  CHECK(config_of(big, 0).run.seed == 8);
  CHECK(config_of(big, 1).run.seed == 7);
  CHECK(big.slurm.script_template == folder.path("sweeps/of/t.sh"));

  folder.write("sweeps/small.yaml", "extends: of/big.yaml\nconfigs: ../small\n");
  const Sweep small = read_sweep(folder.path("sweeps/small.yaml"));
  CHECK(config_of(small, 0).run.seed == 10);
  CHECK(config_of(small, 1).run.seed == 9);
  CHECK(small.slurm.script_template == folder.path("sweeps/of/t.sh"));

  folder.write("big/sweep.yaml", rows);  // no configs: beside the file
  folder.write("sweeps/plain.yaml", "extends: ../big/sweep.yaml\nbase: ../small/base.yaml\n");
  const Sweep plain = read_sweep(folder.path("sweeps/plain.yaml"));
  CHECK(config_of(plain, 0).run.seed == 10);
  CHECK(config_of(plain, 1).run.seed == 7);
}

TEST_CASE("a sweep has at most 10000 runs", "[configs]") {
  const test::Folder folder;
  std::string values;
  for (int i = 1; i <= 100; ++i) values += (i > 1 ? ", " : "") + std::to_string(i);
  const std::string grid = "base: base.yaml\ngrid: {model.n_layers: [" + values + "], model.context: [" + values + "]";
  CHECK(read(folder, grid + "}\n").rows.size() == 10000);
  CHECK_THROWS_AS(read(folder, grid + "}\nseeds: [1, 2]\n"), UsageError);
  CHECK_THROWS_AS(read(folder, grid + ", train.micro_batch: [1, 2]}\n"), UsageError);
}

TEST_CASE("slurm.time has the forms of sbatch --time", "[configs]") {
  const auto [time, seconds] = GENERATE(table<std::string, std::int64_t>({
      {"1", 60},
      {"90", 5400},
      {"1:30", 90},
      {"12:00:00", 43200},
      {"2-00", 172800},
      {"2-01:30", 178200},
      {"2-01:30:05", 178205},
      {"0:01", 1},
  }));
  CAPTURE(time);
  CHECK(slurm_seconds(time) == seconds);
  for (const char* wrong : {"", "0", "0:00", ":", "1:", ":1", "-1", "1-", "1-2-3", "1:2-3", "1:2:3:4", "1-1:2:3:4",
                            "1h", "1.5", " 1", "12345678", "UNLIMITED"}) {
    CAPTURE(wrong);
    CHECK_FALSE(slurm_seconds(wrong));
  }
}

TEST_CASE("the described sweep is itself one, and has every key", "[configs]") {
  const test::Folder folder;
  const std::string text = describe_sweep();
  folder.write("baseline.yaml", kBaseFile);
  const Sweep sweep = read(folder, text);
  CHECK(sweep.rows.size() == 8);  // two rows, two values of zip, two of grid
  CHECK(sweep.rows[0].label == "Pre-norm, context 128, micro_batch 16, d_head 32");

  Strings keys = {"extends", "set", "rows", "grid", "zip"};
  SweepKeys all;
  walk(all, [&](const std::string& path, auto&, const char*) { keys.emplace_back(name_of(path)); });
  for (const RowKey& key : kRowKeys) keys.emplace_back(key.name);
  PaperFigures{}.fields([&](const char* name, auto&, const char*) { keys.emplace_back(name); });
  const Strings before = {"\n", "\n# ", "\n  ", "\n  # ", "#   ", "{", ", "};
  for (const std::string& key : keys) {
    CAPTURE(key);
    const bool is_there = std::any_of(before.begin(), before.end(), [&](const std::string& start) {
      return text.find(start + key + ":") != std::string::npos;
    });
    CHECK(is_there);
  }

  // What it says of defaults is so: without those lines the sweep is the same.
  const Sweep plain = read(folder, "base: base.yaml\nrows: [{name: a}]\n");
  CHECK(sweep.dir == plain.dir);
  CHECK(sweep.local.jobs == plain.local.jobs);
  CHECK(sweep.slurm.time == plain.slurm.time);
  CHECK(sweep.slurm.stop_seconds == plain.slurm.stop_seconds);
  CHECK_FALSE(sweep.slurm.partition);
  CHECK_FALSE(sweep.slurm.gpus_per_node);
}

}  // namespace
}  // namespace spikesink
