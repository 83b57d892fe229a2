// The rows of Tables 3 to 8 of Sun et al. 2026 (arXiv:2603.05498), at three scales. Run from the tree's root.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "configs/writer.h"
#include "models/cost.h"
#include "models/decoder.h"

namespace spikesink {
namespace {

using Changes = std::vector<std::string>;

/// What each row changes of the baseline, as the tables say it.
const std::map<std::string, Changes> kRows = {
    {"baseline", {}},
    {"table3_lr_7.5e-5", {"train.optimizer.lr: 3.0e-04 -> 7.5e-05"}},
    {"table3_lr_1.5e-4", {"train.optimizer.lr: 3.0e-04 -> 0.00015"}},
    {"table3_lr_6e-4", {"train.optimizer.lr: 3.0e-04 -> 6.0e-04"}},
    {"table3_lr_1.2e-3", {"train.optimizer.lr: 3.0e-04 -> 0.0012"}},
    {"table3_min_lr_3e-4", {"train.schedule.kind: cosine -> constant", "train.schedule.min_ratio: 0.1 -> absent"}},
    {"table3_weight_decay_0", {"train.optimizer.weight_decay: 0.1 -> 0"}},
    {"table3_beta2_0.9", {"train.optimizer.betas: [0.9, 0.95] -> [0.9, 0.9]"}},
    {"table3_beta2_0.999", {"train.optimizer.betas: [0.9, 0.95] -> [0.9, 0.999]"}},
    {"table3_tokens_200b", {"train.tokens: 1.0e+11 -> 2.0e+11"}},
    {"table4_gelu",
     {"model.ffn.kind: swiglu -> gelu", "model.ffn.d_hidden: 11008 -> 16512", "model.ffn.gelu: absent -> exact"}},
    {"table4_linear", {"model.ffn.kind: swiglu -> linear", "model.ffn.d_hidden: 11008 -> absent"}},
    {"table4_attention", {"model.ffn.kind: swiglu -> attention", "model.ffn.d_hidden: 11008 -> absent"}},
    {"table5_sandwich", {"model.norm.output: false -> true"}},
    {"table5_sandwich_qk",
     {"model.norm.input: true -> false", "model.norm.output: false -> true", "model.norm.qk: none -> full"}},
    {"table5_dynamic_tanh",
     {"model.embedding_scale: none -> learned", "model.norm.kind: rmsnorm -> dynamic_tanh",
      "model.norm.eps: 1.0e-05 -> absent", "model.norm.alpha.attention: absent -> 0.8",
      "model.norm.alpha.ffn: absent -> 0.2", "model.norm.alpha.final: absent -> 0.2",
      "model.norm.beta: absent -> false"}},
    {"table6_heads_8", {"model.attention.n_heads: 32 -> 8"}},
    {"table6_heads_16", {"model.attention.n_heads: 32 -> 16"}},
    {"table6_d_head_8", {"model.attention.d_head: 128 -> 8"}},
    {"table6_d_head_16", {"model.attention.d_head: 128 -> 16"}},
    {"table6_d_head_32", {"model.attention.d_head: 128 -> 32"}},
    {"table6_d_head_64", {"model.attention.d_head: 128 -> 64"}},
    {"table6_d_head_8_heads_512", {"model.attention.n_heads: 32 -> 512", "model.attention.d_head: 128 -> 8"}},
    {"table6_d_head_16_heads_256", {"model.attention.n_heads: 32 -> 256", "model.attention.d_head: 128 -> 16"}},
    {"table6_d_head_32_heads_128", {"model.attention.n_heads: 32 -> 128", "model.attention.d_head: 128 -> 32"}},
    {"table6_d_head_64_heads_64", {"model.attention.n_heads: 32 -> 64", "model.attention.d_head: 128 -> 64"}},
    {"table6_d_head_256_heads_16", {"model.attention.n_heads: 32 -> 16", "model.attention.d_head: 128 -> 256"}},
    {"table7_conditional_channel",
     {"model.attention.gate.source: none -> conditional", "model.attention.gate.granularity: absent -> channel"}},
    {"table7_conditional_head",
     {"model.attention.gate.source: none -> conditional", "model.attention.gate.granularity: absent -> head"}},
    {"table7_conditional_single",
     {"model.attention.gate.source: none -> conditional", "model.attention.gate.granularity: absent -> single"}},
    {"table7_unconditional_channel",
     {"model.attention.gate.source: none -> unconditional", "model.attention.gate.granularity: absent -> channel"}},
    {"table7_unconditional_head",
     {"model.attention.gate.source: none -> unconditional", "model.attention.gate.granularity: absent -> head"}},
    {"table7_unconditional_single",
     {"model.attention.gate.source: none -> unconditional", "model.attention.gate.granularity: absent -> single"}},
    {"table7_static_positional",
     {"model.attention.gate.source: none -> positional", "model.attention.gate.granularity: absent -> head"}},
    {"table7_static_token",
     {"model.attention.gate.source: none -> token", "model.attention.gate.granularity: absent -> head"}},
    {"table8_loss_1_256", {"model.context: 4096 -> 256"}},
    {"table8_loss_1_1024", {"model.context: 4096 -> 1024"}},
    {"table8_loss_1024_4096", {"train.loss_from_position: 1 -> 1024"}},
    {"table8_loss_1024_5120", {"model.context: 4096 -> 5120", "train.loss_from_position: 1 -> 1024"}},
    {"table8_loss_2048_4096", {"train.loss_from_position: 1 -> 2048"}},
    {"table8_loss_2048_6144", {"model.context: 4096 -> 6144", "train.loss_from_position: 1 -> 2048"}},
};

const std::vector<std::string> kFolders = {"configs/paper", "configs/paper_60m", "configs/paper_cpu"};

Config read_row(const std::string& folder, const std::string& row) { return read_config(folder + "/" + row + ".yaml"); }

/// What a row changes of its folder's baseline, but for its name.
Changes changes_of(const std::string& folder, const std::string& row) {
  Changes changes = config_difference(read_row(folder, "baseline"), read_row(folder, row));
  std::erase_if(changes, [](const std::string& line) { return line.starts_with("run.name: "); });
  return changes;
}

std::string key_of(const std::string& change) { return change.substr(0, change.find(": ")); }
std::string new_value_of(const std::string& change) { return change.substr(change.find(" -> ") + 4); }

/// Keys that name a size, a length or a rate: a row scales them as the paper's row does.
const std::map<std::string, double (*)(const Config&)> kScaled = {
    {"model.context", [](const Config& c) { return static_cast<double>(c.model.context); }},
    {"model.attention.n_heads", [](const Config& c) { return static_cast<double>(c.model.attention.n_heads); }},
    {"model.attention.d_head", [](const Config& c) { return static_cast<double>(c.model.attention.d_head); }},
    {"model.ffn.d_hidden",
     [](const Config& c) {
       const bool has_hidden = c.model.ffn.kind == FfnKind::kSwiGlu || c.model.ffn.kind == FfnKind::kGelu;
       return has_hidden ? static_cast<double>(c.model.ffn.hidden(c.model.d_model)) : 0;
     }},
    {"train.optimizer.lr", [](const Config& c) { return c.train.optimizer.lr; }},
    {"length", [](const Config& c) { return c.train.tokens.value_or(static_cast<double>(c.train.steps.value_or(0))); }},
};

TEST_CASE("the tables have forty rows beside the baseline, each a file at every scale", "[configs]") {
  REQUIRE(kRows.size() == 41);
  for (const std::string& folder : kFolders) {
    std::set<std::string> names, want;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename());
    for (const auto& [row, changes] : kRows) want.insert(row + ".yaml");
    CAPTURE(folder);
    CHECK(names == want);
    for (const auto& [row, changes] : kRows) {
      const Config config = read_row(folder, row);
      CHECK(config.run.name == row);
      CHECK(config.run.dir == "runs/" + folder.substr(folder.find('/') + 1));
    }
  }
}

TEST_CASE("a row of the paper changes what its table says and nothing else", "[configs]") {
  for (const auto& [row, changes] : kRows) {
    CAPTURE(row);
    CHECK(changes_of("configs/paper", row) == changes);
  }
}

TEST_CASE("a row at a reduced scale changes the same keys as in the paper, sizes and rates by the same factors",
          "[configs]") {
  const std::string folder = GENERATE("configs/paper_60m", "configs/paper_cpu");
  const Config paper = read_row("configs/paper", "baseline"), base = read_row(folder, "baseline");
  for (const auto& [row, paper_changes] : kRows) {
    CAPTURE(folder, row);
    Changes changes = changes_of(folder, row);
    std::erase_if(changes, [](const std::string& change) {  // goes with `wsd`, a kind that only the CPU's scale has
      return key_of(change) == "train.schedule.decay_share";
    });
    const Config paper_row = read_row("configs/paper", row), scaled = read_row(folder, row);
    REQUIRE(changes.size() == paper_changes.size());
    for (std::size_t i = 0; i < changes.size(); ++i) {
      std::string key = key_of(paper_changes[i]);
      CAPTURE(changes[i]);
      if (key == "train.tokens") {
        CHECK(key_of(changes[i]) == "train.steps");
        key = "length";
      } else {
        CHECK(key_of(changes[i]) == key);
      }
      if (key.starts_with("model.norm.alpha.")) continue;  // chosen by width
      if (key == "train.loss_from_position") {
        CHECK(static_cast<double>(scaled.train.loss_from_position) / static_cast<double>(base.model.context) ==
              static_cast<double>(paper_row.train.loss_from_position) / static_cast<double>(paper.model.context));
      } else if (const auto size = kScaled.find(key); size != kScaled.end()) {
        CHECK(size->second(scaled) / size->second(base) == Approx(size->second(paper_row) / size->second(paper)));
      } else {
        CHECK(new_value_of(changes[i]) == new_value_of(paper_changes[i]));
      }
    }
  }
}

TEST_CASE("the baseline is the model of Table 9", "[configs]") {
  const Config c = read_row("configs/paper", "baseline");
  CHECK(cost_of(c.model).parameters() == 6738415616);
  CHECK(c.model.d_model == 4096);
  CHECK(c.model.n_layers == 32);
  CHECK(c.model.context == 4096);
  CHECK(c.train.batch_tokens == 2097152);
  CHECK(c.train.tokens == 100e9);
}

TEST_CASE("GeLU has as many parameters as SwiGLU", "[configs]") {
  const std::string folder = GENERATE(from_range(kFolders));
  const ModelCost gelu = cost_of(read_row(folder, "table4_gelu").model);
  const ModelCost swiglu = cost_of(read_row(folder, "baseline").model);
  CHECK(gelu.parameters() == swiglu.parameters());
  CHECK(gelu.flops() == swiglu.flops());
}

TEST_CASE("every row's decoder has as many parameters as its cost says", "[configs]") {
  const std::string folder = GENERATE(from_range(kFolders));
  for (const auto& [row, changes] : kRows) {
    CAPTURE(folder, row);
    const ModelConfig model = read_row(folder, row).model;
    CHECK(Decoder(model).params().num_elements() == cost_of(model).parameters());
  }
}

}  // namespace
}  // namespace spikesink
