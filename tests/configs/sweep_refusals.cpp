// Every kind of mistake that a user can make in a sweep file, and the whole line that answers it.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "configs/sweep.h"
#include "configs/sweep_keys.h"
#include "configs/writer.h"
#include "tests/configs/folder.h"

namespace spikesink {
namespace {

struct SweepMistake {
  std::string yaml, line;
};

/// The line that answers a wrong sweep, or its first row that cannot run, or "accepted". Beside it are b.yaml, a
/// config, and bad.yaml, none.
std::string refusal(const test::Folder& folder, const std::string& yaml,
                    const std::vector<std::string>& overrides = {}) {
  folder.write("b.yaml", "data: {train: [a.jsonl]}\ntrain: {steps: 3}\n");
  folder.write("bad.yaml", "data: {train: [a.jsonl]}\ntrian: {steps: 3}\n");
  folder.write("x.yaml", yaml);
  try {
    for (const SweepRow& row : read_sweep(folder.path("x.yaml"), overrides).rows)
      if (!row.refusal.empty()) return folder.shorten(row.refusal);
  } catch (const UsageError& error) {
    return folder.shorten(error.what());
  }
  return "accepted";
}

const std::string kNameRule =
    "is no plain file name; use at most 100 letters, digits and . _ + -, of which . and - not in front";

TEST_CASE("a mistake in a sweep file is refused with its line, the row and the mend", "[configs]") {
  const auto [yaml, line] = GENERATE(values<SweepMistake>({
      // the file
      {"", "x.yaml: the file must be a map of keys, e.g. base: baseline.yaml"},
      {"- a\n", "x.yaml:1: the file must be a map of keys, e.g. base: baseline.yaml"},
      {"rows: [\n",
       "x.yaml:2: not valid YAML: end of sequence flow not found; a text with special characters needs quotes"},
      {"base: b.yaml\n", "x.yaml: has neither rows nor axes; give one, e.g. grid: {model.attention.d_head: [8, 16]}"},
      {"base: b.yaml\nrows: []\ngrid: {}\n",
       "x.yaml: has neither rows nor axes; give one, e.g. grid: {model.attention.d_head: [8, 16]}"},
      {"extends: n.yaml\n",
       "x.yaml:1: extends: n.yaml: no such file; the path is relative to the file that extends it"},
      {"name: a\nextends: x.yaml\n", "x.yaml:2: extends: x.yaml: extends this file in turn; a chain of files must end"},
      {"extends: b.yaml\n",
       "b.yaml:1: data: is a key of a config, not of a sweep; write set: {data: ...}, or name the config in base"},
      // keys
      {"slrum: {nodes: 2}\n", "x.yaml:1: slrum: unknown key; did you mean slurm?"},
      {"slurm:\n  tiem: 3\n", "x.yaml:2: slurm.tiem: unknown key; did you mean time?"},
      {"local: {gpus: 3}\n", "x.yaml:1: local.gpus: unknown key; the keys here are jobs, ranks"},
      {"partition: gpu\n", "x.yaml:1: partition: unknown key; did you mean slurm.partition?"},
      {"slurm.time: 3\n", "x.yaml:1: slurm.time: unknown key; dotted keys are for --set, in a file keys are nested"},
      {"slurm: {time.x: 3}\n", "x.yaml:1: slurm.time.x: unknown key; slurm.time is a value and has no keys"},
      {"base: b.yaml\nbase: b.yaml\n", "x.yaml:2: base: is given twice, first at x.yaml:1; keep one"},
      {"model: {context: 64}\n",
       "x.yaml:1: model: is a key of a config, not of a sweep; write set: {model: ...}, or name the config in base"},
      // values
      {"slurm: {nodes: many}\n", "x.yaml:1: slurm.nodes: \"many\" is not an integer"},
      {"dir: -x\n", "x.yaml:1: dir: \"-x\" begins with -; write ./-x"},
      {"slurm: {nodes: 0}\n", "x.yaml:1: slurm.nodes: 0, must be at least 1"},
      {"slurm: {gpus_per_node: -1}\n", "x.yaml:1: slurm.gpus_per_node: -1, must be at least 0"},
      {"slurm: {nodes: 9000000}\n", "x.yaml:1: slurm.nodes: 9000000, must be at most 1000000"},
      {"slurm: {stop_seconds: 0}\n", "x.yaml:1: slurm.stop_seconds: 0, must be at least 1"},
      {"slurm: {stop_seconds: 65536}\n", "x.yaml:1: slurm.stop_seconds: 65536, must be at most 65535"},
      {"local: {jobs: 0}\n", "x.yaml:1: local.jobs: 0, must be at least 1"},
      {"slurm: {time: soon}\n",
       "x.yaml:1: slurm.time: \"soon\" is no time limit; write minutes, hours:minutes:seconds or days-hours, e.g. "
       "\"12:00:00\""},
      {"slurm: {time: 2:00}\n",
       "x.yaml:1: slurm.time: 120 seconds, must be more than slurm.stop_seconds 120, by which runs stop before it"},
      {"slurm: {launcher: sruns}\n",
       "x.yaml:1: slurm.launcher: \"sruns\" is not one of srun, mpirun, none; did you mean srun?"},
      {"slurm: {launcher: none, tasks_per_node: 2}\n",
       "x.yaml:1: slurm.launcher: none starts one rank, but nodes * tasks_per_node is 2; use srun or mpirun"},
      {"slurm: {partition: \"a\\nb\"}\n",
       "x.yaml:1: slurm.partition: must be one line of UTF-8 without control characters"},
      {"slurm: {setup: [\"a\\nb\"]}\n", "x.yaml:1: slurm.setup: must be one line of UTF-8 without control characters"},
      {"slurm: gpu\n", "x.yaml:1: slurm: \"gpu\" is not a map of keys"},
      {"slurm:\n", "x.yaml:1: slurm: has no value; it is a map of keys, give one or remove it"},
      {"name: [a]\n", "x.yaml:1: name: is a list, but must be a text"},
      {"name: a b\n", "x.yaml:1: name: \"a b\" " + kNameRule},
      {"name: ../a\n", "x.yaml:1: name: \"../a\" " + kNameRule},
      {"dir: \"\"\n", "x.yaml:1: dir: empty; the current folder is \".\""},
      {"base: \"\"\n", "x.yaml:1: base: empty; name a config file, or remove the key"},
      {"seeds: 3\n", "x.yaml:1: seeds: \"3\" is not a list; write [3]"},
      {"seeds: [1, 2, 1]\n", "x.yaml:1: seeds: 1 is given twice"},
      // set
      {"base: b.yaml\nset:\n  train:\n    stepz: 3\n", "x.yaml:4: set: train.stepz: unknown key; did you mean steps?"},
      {"set: {train: {steps: many}}\n", "x.yaml:1: set: train.steps: \"many\" is not an integer"},
      {"set: {train.steps: 3}\n",
       "x.yaml:1: set: train.steps: unknown key; dotted keys are for --set, in a file keys are nested"},
      {"set: 3\n", "x.yaml:1: set: \"3\" is not a map of keys"},
      {"set: {extends: b.yaml}\n",
       "x.yaml:1: set: extends: unknown key; the keys here are run, model, data, train, system, checkpoint, metrics"},
      {"set: {train: {steps: 1, tokens: 2}}\n",
       "x.yaml:1: set: train.steps: train.tokens is given too (x.yaml:1); keep one of them"},
      {"base: b.yaml\nrows: [{name: a}]\nset: {run: {name: a}}\n",
       "x.yaml:3: set: run.name: has no effect: a sweep's runs are called by its dir, name and rows; remove it"},
      {"base: b.yaml\nrows: [{name: a}]\nset: {run: {seed: 1}}\nseeds: [2]\n",
       "x.yaml:3: set: run.seed: has no effect beside seeds (x.yaml:4); keep one"},
      {"base: b.yaml\nrows: [{name: a}]\nset: {model: {ffn: {gelu: tanh}}}\n",
       "x.yaml:3: set: model.ffn.gelu: counts in no row: has an effect only with ffn kind gelu; remove it"},
      {"base: b.yaml\nset: {model: {context: 64}}\ngrid: {model.context: [8, 16]}\n",
       "x.yaml:2: set: model.context: counts in no row: each says otherwise; remove it"},
      // rows
      {"rows: {name: a}\n", "x.yaml:1: rows: must be a list, e.g. [{name: sandwich, config: sandwich.yaml}]"},
      {"rows:\n  - a\n", "x.yaml:2: rows: a row must be a map of keys, e.g. {name: sandwich, config: sandwich.yaml}"},
      {"rows:\n  - {label: a}\n", "x.yaml:2: rows: a row has no name; give it one, e.g. name: sandwich"},
      {"rows:\n  - {name: }\n", "x.yaml:2: rows: name: has no value; give a text, or remove the key"},
      {"rows:\n  - {name: a/b}\n", "x.yaml:2: rows: name: \"a/b\" " + kNameRule + "; a label may be any text"},
      {"rows:\n  - {name: .a}\n", "x.yaml:2: rows: name: \".a\" " + kNameRule + "; a label may be any text"},
      {"rows:\n  - name: " + std::string(101, 'a') + "\n",
       "x.yaml:2: rows: name: \"" + std::string(60, 'a') + "...\" " + kNameRule + "; a label may be any text"},
      {"rows: [{name: a, name: b}]\n", "x.yaml:1: row a: name: is given twice, first at x.yaml:1; keep one"},
      {"rows:\n  - name: a\n    lable: A\n", "x.yaml:3: row a: lable: unknown key; did you mean label?"},
      {"rows: [{name: a, seeds: [3]}]\n",
       "x.yaml:1: row a: seeds: unknown key; the keys here are name, label, config, set, paper"},
      {"rows: [{name: a, train: {steps: 3}}]\n",
       "x.yaml:1: row a: train: is a key of a config; write set: {train: ...}"},
      {"rows: [{name: a, label: \"x\\ny\"}]\n",
       "x.yaml:1: row a: label: must be one line of UTF-8 without control characters"},
      {"rows: [{name: a, config: [b]}]\n", "x.yaml:1: row a: config: is a list, but must be a text"},
      {"rows: [{name: a, config: \"\"}]\n", "x.yaml:1: row a: config: empty; name a config file, or remove the key"},
      {"rows:\n  - name: a\n    set: {model: {norm: {outptu: true}}}\n",
       "x.yaml:3: row a: model.norm.outptu: unknown key; did you mean output?"},
      {"rows: [{name: a, set: 3}]\n", "x.yaml:1: row a: set: \"3\" is not a map of keys"},
      {"rows: [{name: a, paper: 3}]\n", "x.yaml:1: row a: paper: \"3\" is not a map of keys"},
      {"rows: [{name: a, paper: {perplexty: 3}}]\n",
       "x.yaml:1: row a: paper.perplexty: unknown key; did you mean perplexity?"},
      {"rows: [{name: a, paper: {spike: high}}]\n", "x.yaml:1: row a: paper.spike: \"high\" is not a number"},
      {"rows: [{name: a, paper: {spike: -1}}]\n", "x.yaml:1: row a: paper.spike: must not be negative"},
      {"base: b.yaml\nrows:\n  - {name: a}\n  - {name: b}\n  - {name: a}\n",
       "x.yaml:5: row a: another row has this name, at x.yaml:3; give each a name of its own"},
      {"base: b.yaml\nbaseline: pre\nrows: [{name: post}, {name: prey}]\n",
       "x.yaml:2: baseline: no row is called \"pre\"; did you mean prey?"},
      {"base: b.yaml\nbaseline: c\nrows: [{name: aaa}]\n",
       "x.yaml:2: baseline: no row is called \"c\"; the first row is aaa"},
      // configs
      {"rows: [{name: a}]\n", "x.yaml:1: row a: config: is missing, and the sweep has no base; give one of them"},
      {"grid: {model.context: [8]}\n", "x.yaml: base: is missing; name the config whose keys the axes change"},
      {"base: n.yaml\nrows: [{name: a}]\n",
       "x.yaml:1: base: n.yaml: no such file; the path is relative to the file that names it"},
      {"configs: there\nrows:\n  - {name: a, config: n.yaml}\n",
       "x.yaml:3: row a: config: there/n.yaml: no such file; the path is relative to the folder that configs names "
       "(x.yaml:1)"},
      {"base: bad.yaml\nrows: [{name: a}]\n", "bad.yaml:2: trian: unknown key; did you mean train?"},
      {"base: b.yaml\nrows:\n  - {name: a}\n  - {name: b, set: {model: {attention: {n_heads: 6, n_kv_heads: 4}}}}\n",
       "x.yaml:4: row b: model.attention.n_kv_heads: 4 does not divide n_heads 6; choose a divisor"},
      {"base: b.yaml\nset: {model: {attention: {n_kv_heads: 4}}}\ngrid: {model.attention.n_heads: [8, 6]}\n",
       "x.yaml:2: row n_heads_6: model.attention.n_kv_heads: 4 does not divide n_heads 6; choose a divisor"},
      {"base: b.yaml\nrows: [{name: a, set: {model: {ffn: {gelu: tanh}}}}]\n",
       "x.yaml:2: row a: model.ffn.gelu: has an effect only with ffn kind gelu (model.ffn.kind: the default); remove "
       "it, or change model.ffn.kind"},
      // axes
      {"base: b.yaml\ngrid: [model.context]\n", "x.yaml:2: grid: is a list, but must be a map of keys"},
      {"base: b.yaml\ngrid:\n  model.contxt: [8]\n",
       "x.yaml:3: grid: model.contxt: unknown axis; did you mean context?"},
      {"base: b.yaml\nzip: {d_head: [8]}\n",
       "x.yaml:2: zip: d_head: unknown axis; did you mean model.attention.d_head?"},
      {"base: b.yaml\ngrid: {model: {context: [8]}}\n",
       "x.yaml:2: grid: model: is a map of keys, but an axis is one key with dots, e.g. model.attention.d_head: [8, "
       "16]"},
      {"base: b.yaml\ngrid: {model.context: 8}\n",
       "x.yaml:2: grid: model.context: must be a list of the values that the key takes"},
      {"base: b.yaml\ngrid: {model.context: []}\n", "x.yaml:2: grid: model.context: names no value; remove the axis"},
      {"base: b.yaml\ngrid:\n  model.context:\n    - 8\n    - eight\n",
       "x.yaml:5: grid: model.context: \"eight\" is not an integer"},
      {"base: b.yaml\ngrid:\n  model.context:\n    - 8\n    - 8\n",
       "x.yaml:5: grid: model.context: 8 is given twice, first at x.yaml:4; keep one"},
      {"base: b.yaml\ngrid:\n  data.train:\n    - [a/b]\n    - [a_b]\n",
       "x.yaml:5: row train_a_b: another row has this name, at x.yaml:4; give each a name of its own"},
      {"base: b.yaml\ngrid:\n  data.train: [[" + std::string(101, 'a') + "]]\n",
       "x.yaml:3: grid: data.train: row name \"train_" + std::string(54, 'a') + "...\" " + kNameRule},
      {"base: b.yaml\nzip:\n  model.context: [8, 16]\n  train.micro_batch: [1]\n",
       "x.yaml:4: zip: train.micro_batch: 1 long, but model.context is 2 (x.yaml:3); zip takes the first value of "
       "each, then the second"},
      {"base: b.yaml\nzip: {model.context: [8]}\ngrid: {model.context: [9]}\n",
       "x.yaml:3: grid: model.context: is an axis of zip too (x.yaml:2); keep one"},
      {"base: b.yaml\nrows: [{name: a, set: {model: {context: 7}}}]\ngrid: {model.context: [9]}\n",
       "x.yaml:2: row a: model.context: is an axis too (x.yaml:3); keep one"},
      {"base: b.yaml\nseeds: [1]\ngrid: {run.seed: [1, 2]}\n",
       "x.yaml:3: grid: run.seed: has no effect beside seeds (x.yaml:2); keep one"},
      {"base: b.yaml\ngrid: {run.name: [a, b]}\n",
       "x.yaml:2: grid: run.name: has no effect: a sweep's runs are called by its dir, name and rows; remove it"},
      {"base: b.yaml\ngrid: {model.context: [3, 0]}\n",
       "x.yaml:2: row context_0: model.context: 0, must be at least 2"},
  }));
  const test::Folder folder;
  CAPTURE(yaml);
  CHECK(refusal(folder, yaml) == line);
}

TEST_CASE("more than a hundred files that a sweep extends are refused", "[configs]") {
  const test::Folder folder;
  for (int i = 0; i < 30; ++i)  // each names the next one twice: 2^30 readings of the last
    folder.write(fmt::format("f{}.yaml", i), fmt::format("extends: [f{0}.yaml, f{0}.yaml]\n", i + 1));
  folder.write("f30.yaml", "local: {jobs: 2}\n");
  const std::string rest = "base: b.yaml\nrows: [{name: a}]\n";
  CHECK(refusal(folder, "extends: f25.yaml\n" + rest) == "accepted");
  CHECK_THAT(refusal(folder, "extends: f0.yaml\n" + rest),
             Catch::Matchers::EndsWith(
                 "is one file too many: 100 are read already, each as often as it is named; name it once"));
}

TEST_CASE("a mistake in a sweep's --set is refused with what was typed", "[configs]") {
  const test::Folder folder;
  const auto [set, line] = GENERATE(values<SweepMistake>({
      {"slurm", "--set slurm: must be key=value, e.g. train.steps=100"},
      {"slurm.tiem=3", "--set slurm.tiem=3: slurm.tiem: unknown key; did you mean time?"},
      {"slrum.time=3", "--set slrum.time=3: slrum: unknown key; did you mean slurm?"},
      {"slurm.time.x=3", "--set slurm.time.x=3: slurm.time.x: unknown key; slurm.time is a value and has no keys"},
      {"name=a/b", "--set name=a/b: name: \"a/b\" " + kNameRule},
      {"set.train.steps=3", "--set set.train.steps=3: set: leave it out: keys of a config are given as they are"},
      {"extends=b.yaml", "--set extends=b.yaml: extends: stands in a file only"},
      {"steps=3", "--set steps=3: steps: unknown key; did you mean train.steps?"},
      {"trian.steps=3", "--set trian.steps=3: trian: unknown key; did you mean train?"},
      {"banana=3",
       "--set banana=3: banana: unknown key; a sweep's are rows, grid, zip, name, dir, title, baseline, configs, base, "
       "seeds, local, slurm, a config's run, model, data, train, system, checkpoint, metrics"},
      {"train.stepz=3", "--set train.stepz=3: train.stepz: unknown key; did you mean steps?"},
      {"train.steps=x", "--set train.steps=x: train.steps: \"x\" is not an integer"},
      {"run.name=x",
       "--set run.name=x: run.name: has no effect: a sweep's runs are called by its dir, name and rows; remove it"},
      {"model.attention.d_head=7",
       "--set model.attention.d_head=7: row a_context_8: model.attention.d_head: 7 is odd, but rotary positions turn "
       "pairs of channels; choose an even d_head"},
      {"model.ffn.gelu=tanh",
       "--set model.ffn.gelu=tanh: model.ffn.gelu: counts in no row: has an effect only with ffn kind gelu; remove it"},
      {"model.context=9",
       "--set model.context=9: model.context: is an axis of the sweep (x.yaml:3); give --set 'grid={...}' for other "
       "values"},
      {"base=n.yaml", "--set base=n.yaml: base: n.yaml: no such file; the path is relative to the current folder"},
      {"slurm.nodes=2", "accepted"},
  }));
  CHECK(refusal(folder, "base: b.yaml\nrows: [{name: a}]\ngrid: {model.context: [8, 9]}\n", {set}) == line);
}

TEST_CASE("any change of a valid sweep file is read or refused, in one line", "[configs]") {
  const std::string valid =
      "name: norms\nbase: b.yaml\ntitle: \"T: x\"\nbaseline: a_d_head_8_micro_batch_2_context_64\nseeds: [1, 2]\n"
      "set: {train: {optimizer: {betas: [0.9, 0.95]}}, model: {norm: {eps: 1e-6}}}\nrows:\n"
      "  - {name: a, label: A, paper: {perplexity: 10.1, sink_ratio: 46.0, spike: 3818}}\n"
      "  - name: b\n    config: ./b.yaml\n    set: {model: {norm: {output: true}}}\n"
      "zip: {model.attention.d_head: [8, 16], train.micro_batch: [2, 1]}\ngrid: {model.context: [64, 128]}\n"
      "local: {jobs: 2}\nslurm: {time: \"1-00:00:00\", nodes: 2, extra: [--x], setup: [module load cuda]}\n";
  const test::Folder folder;
  REQUIRE(refusal(folder, valid) == "accepted");

  std::vector<std::string> words;  // with what stands between them
  for (std::size_t at = 0; at < valid.size();) {
    const auto is_word = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; };
    std::size_t end = at + 1;
    while (end < valid.size() && is_word(valid[at]) && is_word(valid[end])) ++end;
    words.push_back(valid.substr(at, end - at));
    at = end;
  }
  const std::string characters = "{}[]:,-#&*!|>'\"%@`~ \n\t0a./=\x01\xff";
  std::mt19937 random(1);
  const auto pick = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
  int accepted = 0, refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::string> changed = words;
    for (std::size_t changes = 1 + pick(3); changes > 0; --changes) {
      const std::size_t at = pick(words.size());
      switch (pick(5)) {
        case 0:
          changed[at] = characters[pick(characters.size())];
          break;
        case 1:
          changed[at].insert(pick(changed[at].size() + 1), 1, characters[pick(characters.size())]);
          break;
        case 2:
          changed[at].clear();
          break;
        default:  // a word for a word, a sign for a sign
          const std::size_t other = pick(words.size());
          if ((words[other].size() > 1) == (words[at].size() > 1)) changed[at] = words[other];
      }
    }
    std::string yaml;
    for (const std::string& word : changed) yaml += word;
    CAPTURE(yaml);
    folder.write("m.yaml", yaml);
    try {
      const Sweep sweep = read_sweep(folder.path("m.yaml"));
      ++accepted;
      std::set<std::string> names;
      bool is_sound = is_file_name(sweep.name) && !sweep.rows.empty();
      for (const SweepRow& row : sweep.rows)
        for (const SweepRun& run : row.runs)
          is_sound = is_sound && is_file_name(row.name) && names.insert(run.name).second &&
                     run.config.run.name == run.name && run.config.run.dir == sweep.folder() + "/runs" &&
                     problem_of(run.config).empty();
      if (!is_sound) FAIL_CHECK("a sweep with names that collide or are no files'");
    } catch (const UsageError& error) {
      ++refused;
      const std::string line = error.what();
      if (line.empty() || line.find('\n') != std::string::npos || line.back() == '.') FAIL_CHECK(line);
    }
  }
  CHECK(accepted > 100);
  CHECK(refused > 1000);
}

}  // namespace
}  // namespace spikesink
