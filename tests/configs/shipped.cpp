// The YAML files of the tree. Run from its root, as ctest does.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "configs/reader.h"
#include "configs/rules.h"
#include "configs/schema.h"
#include "configs/sweep.h"
#include "configs/writer.h"
#include "models/cost.h"

namespace spikesink {
namespace {

constexpr const char* kSweeps = "configs/sweeps";

/// The YAML files below `folder`, less those that are only to be extended.
std::vector<std::string> shipped(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string parent = entry.path().parent_path().filename();
    if (entry.path().extension() == ".yaml" && parent != "scale" && parent != "tables")
      files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> shipped_configs() {
  std::vector<std::string> files = shipped("configs");
  std::erase_if(files, [](const std::string& file) { return file.starts_with(kSweeps); });
  return files;
}

TEST_CASE("every shipped config is read, and its resolved form reads back the same", "[configs]") {
  const auto files = shipped_configs();
  REQUIRE(files.size() >= 6);
  std::vector<std::string> names;
  for (const std::string& file : files) {
    CAPTURE(file);
    const Config config = read_config(file);
    const std::string resolved = write_config(config);
    const Config back = read_config_text(resolved, "resolved");
    CHECK(config_difference(config, back) == std::vector<std::string>{});
    CHECK(write_config(back) == resolved);
    CHECK(config.train.total_steps(config.model.context) > 0);
    // Whole sequences; Table 8 changes the context and leaves the tokens of a step.
    const std::int64_t left_over = config.train.batch_tokens % config.model.context;
    CHECK(left_over <= (file.find("/table8_") == std::string::npos ? 0 : config.train.batch_tokens / 16));
    names.push_back(config.run.dir + "/" + config.run.name);
  }
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());  // two of them would share a run's folder
}

TEST_CASE("every shipped sweep is read, and no two share a folder", "[configs]") {
  const auto files = shipped(kSweeps);
  REQUIRE(files.size() >= 20);
  std::vector<std::string> folders;
  for (const std::string& file : files) {
    CAPTURE(file);
    const Sweep sweep = read_sweep(file);
    CHECK(sweep.rows.size() >= 4);
    CHECK(sweep.title != sweep.name);
    folders.push_back(sweep.folder());
    for (const SweepRow& row : sweep.rows)
      for (const SweepRun& run : row.runs) {
        const Config back = read_config_text(write_config(run.config), run.name);  // what the run is started with
        CHECK(config_difference(run.config, back) == std::vector<std::string>{});
      }
  }
  std::sort(folders.begin(), folders.end());
  CHECK(std::adjacent_find(folders.begin(), folders.end()) == folders.end());
}

TEST_CASE("the shipped models have the sizes that their comments state", "[configs]") {
  // Counted by hand: L (2 C N D + 2 C K D + 3 C F + 2 C) + C + 2 V C.
  const auto [file, total] = GENERATE(values<std::pair<std::string, std::int64_t>>({
      {"configs/cpu/tiny.yaml", 919168},
      {"configs/cpu/small.yaml", 10130688},
      {"configs/llama/60m.yaml", 108150528},
      {"configs/llama/125m.yaml", 134105856},
      {"configs/llama/1b.yaml", 1204881408},
      {"configs/llama/7b.yaml", 6738415616},  // that of Llama-2-7B
      {"configs/paper_60m/baseline.yaml", 108150528},
      {"configs/paper_cpu/baseline.yaml", 1574016},
  }));
  CAPTURE(file);
  CHECK(cost_of(read_config(file).model).parameters() == total);
}

TEST_CASE("7b is the paper's baseline", "[configs]") {
  const Config c = read_config("configs/llama/7b.yaml");  // Sun et al. 2026, Table 9
  CHECK(c.model.n_layers == 32);
  CHECK(c.model.d_model == 4096);
  CHECK(c.model.attention.n_heads == 32);
  CHECK(c.model.attention.kv_heads() == 32);
  CHECK(c.model.attention.d_head == 128);
  CHECK(c.model.ffn.hidden(4096) == 11008);
  CHECK(c.model.vocab_size == 32000);
  CHECK(c.model.context == 4096);
  CHECK_FALSE(c.model.tie_embeddings);
  CHECK(c.train.optimizer.betas == std::vector<double>{0.9, 0.95});
  CHECK(c.train.optimizer.weight_decay == 0.1);
  CHECK(c.train.optimizer.clip == 1.0);
  CHECK(c.train.optimizer.lr == 3e-4);
  CHECK(c.train.schedule.kind == ScheduleKind::kCosine);
  CHECK(c.train.schedule.min_ratio * c.train.optimizer.lr == Approx(3e-5));
  CHECK(c.train.schedule.warmup_steps == 2000);
  CHECK(c.train.batch_tokens == 2097152);
  CHECK(c.train.tokens == 100e9);
}

TEST_CASE("the rules name keys of the schema", "[configs]") {
  for (const Alternative& rule : kAlternatives)
    for (const std::string_view key : {rule.key, rule.other}) {
      CAPTURE(key);
      const SchemaKey* found = find_key(key);
      REQUIRE(found != nullptr);
      CHECK_FALSE(found->is_section);
    }
  for (const Condition& rule : kConditions)
    for (const std::string_view key : {rule.key, rule.choice}) {
      CAPTURE(key);
      const SchemaKey* found = find_key(key);
      REQUIRE(found != nullptr);
      CHECK_FALSE(found->is_section);
    }
}

}  // namespace
}  // namespace spikesink
