// The sweeps of Tables 3 to 8 against the configs of their rows, at three scales. Run from the tree's root.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "configs/sweep.h"
#include "configs/writer.h"

namespace spikesink {
namespace {

using Strings = std::vector<std::string>;

struct Scale {
  std::string folder, suffix;  ///< "paper_60m", of configs and of sweeps; "_60m", of sweeps' names
};

const std::vector<Scale> kScales = {{"paper", "_7b"}, {"paper_60m", "_60m"}, {"paper_cpu", "_cpu"}};

Sweep read_table(const Scale& scale, int table) {
  return read_sweep("configs/sweeps/" + scale.folder + "/table" + std::to_string(table) + ".yaml");
}

/// What the comment of a config says that the paper found: "perplexity 10.1, sink ratio 46.0 %, spike 3818".
PaperFigures figures_of(const std::string& file) {
  std::ifstream in(file);
  std::string text;
  for (std::string line; std::getline(in, line);) text += line.starts_with("# ") ? line.substr(1) : line;
  const std::size_t start = text.find("paper found perplexity ");
  REQUIRE(start != std::string::npos);
  double perplexity = 0, sink = 0, spike = 0;
  REQUIRE(std::sscanf(text.c_str() + start, "paper found perplexity %lf, sink ratio %lf %%, spike %lf", &perplexity,
                      &sink, &spike) == 3);
  return {perplexity, sink, spike};
}

std::map<std::string, Config> configs_of(const std::string& folder) {
  std::map<std::string, Config> configs;
  for (const auto& entry : std::filesystem::directory_iterator("configs/" + folder))
    configs.emplace(entry.path().string(), read_config(entry.path()));
  return configs;
}

/// The row's config file, found by what it resolves to, but for keys that begin with `sweeps_own`.
std::string file_of(const SweepRow& row, const std::map<std::string, Config>& configs, const Strings& sweeps_own) {
  Strings found;
  for (const auto& [file, config] : configs) {
    Strings changes = config_difference(config, row.runs.front().config);
    std::erase_if(changes, [&](const std::string& change) {
      return std::any_of(sweeps_own.begin(), sweeps_own.end(),
                         [&](const std::string& key) { return change.starts_with(key); });
    });
    if (changes.empty()) found.push_back(file);
  }
  REQUIRE(found.size() == 1);
  return found.front();
}

TEST_CASE("the paper's sweeps have each config of their scale once, and the baseline first", "[configs]") {
  const Scale scale = GENERATE(from_range(kScales));
  CAPTURE(scale.folder);
  // What fits a pass into memory is the 7B sweep's, as the runs' names are.
  const Strings sweeps_own = scale.folder == "paper" ? Strings{"run.", "train.micro_batch: "} : Strings{"run."};
  const std::map<std::string, Config> configs = configs_of(scale.folder);
  const std::string folder = "configs/" + scale.folder + "/";
  std::map<std::string, int> uses;
  for (int table = 3; table <= 8; ++table) {
    const Sweep sweep = read_table(scale, table);
    CHECK(sweep.name == "table" + std::to_string(table) + scale.suffix);
    CHECK(sweep.title.starts_with("Table " + std::to_string(table) + ": "));
    CHECK(sweep.baseline == sweep.rows.front().name);
    for (const SweepRow& row : sweep.rows) {
      CAPTURE(sweep.name, row.name);
      const std::string file = file_of(row, configs, sweeps_own);
      ++uses[file];
      CHECK((&row == &sweep.rows.front()) == (file == folder + "baseline.yaml"));
      if (&row != &sweep.rows.front())  // a row is called as its config
        CHECK(file == folder + "table" + std::to_string(table) + "_" + row.name + ".yaml");
      const PaperFigures want = figures_of(file);
      REQUIRE(row.paper);
      CHECK(row.paper->perplexity == want.perplexity);
      CHECK(row.paper->sink_ratio == want.sink_ratio);
      CHECK(row.paper->spike == want.spike);
    }
  }
  for (const auto& [file, config] : configs) {
    CAPTURE(file);
    CHECK(uses[file] == (file == folder + "baseline.yaml" ? 6 : 1));
  }
}

TEST_CASE("a table has the same rows at every scale", "[configs]") {
  for (int table = 3; table <= 8; ++table) {
    const Sweep seven = read_table(kScales[0], table);
    for (const Scale& scale : kScales) {
      const Sweep sweep = read_table(scale, table);
      CAPTURE(sweep.name);
      REQUIRE(sweep.rows.size() == seven.rows.size());
      for (std::size_t i = 0; i < sweep.rows.size(); ++i) {
        CHECK(sweep.rows[i].name == seven.rows[i].name);
        CHECK(sweep.rows[i].label == seven.rows[i].label);
      }
    }
  }
}

TEST_CASE("a row of the 7B tables has a node of eight GPUs, smaller ones less", "[configs]") {
  const Sweep seven = read_table(kScales[0], 5), sixty = read_table(kScales[1], 5), cpu = read_table(kScales[2], 5);
  CHECK(seven.slurm.gpus_per_node == 8);
  CHECK(seven.slurm.tasks_per_node == 8);
  CHECK(sixty.slurm.gpus_per_node == 1);
  CHECK(sixty.slurm.tasks_per_node == 1);
  CHECK_FALSE(cpu.slurm.gpus_per_node);
  CHECK(seven.rows[0].runs[0].config.train.micro_batch == 1);  // with 4 the predicted memory is more than 80 GB
}

}  // namespace
}  // namespace spikesink
