#include "configs/reader.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "configs/writer.h"
#include "tests/configs/folder.h"

namespace spikesink {
namespace {

/// A file that is complete but for what a test adds to it.
const std::string kBase = "data: {train: [a.jsonl]}\ntrain:\n  tokens: 100e9\n  micro_batch: 2\n";

TEST_CASE("values of every type are read", "[configs]") {
  const Config c = read_config_text(
      "run: {name: 123, seed: -4}\n"
      "model: {tie_embeddings: true, vocab_size: 1e4, norm: {eps: 1e-6}, attention: {n_kv_heads: 8, rope_theta: "
      "500000}}\n"
      "data: {train: [\"a b.jsonl\", 'c, d.jsonl'], validation: []}\n"
      "train: {tokens: 100e9, optimizer: {betas: [0.9, 0.95]}, schedule: {kind: wsd, decay_share: 0.25}}\n"
      "metrics: {loggers: [tensorboard]}\n",
      "text");
  CHECK(c.run.name == "123");
  CHECK(c.run.seed == -4);
  CHECK(c.model.tie_embeddings);
  CHECK(c.model.vocab_size == 10000);
  CHECK(c.model.norm.eps == 1e-6);
  CHECK(c.model.attention.n_kv_heads == 8);
  CHECK(c.model.attention.rope_theta == 500000);
  CHECK(c.data.train == std::vector<std::string>{"a b.jsonl", "c, d.jsonl"});
  CHECK(c.data.validation.empty());
  CHECK(c.train.tokens == 100e9);
  CHECK_FALSE(c.train.steps);
  CHECK(c.train.optimizer.betas == std::vector<double>{0.9, 0.95});
  CHECK(c.train.schedule.kind == ScheduleKind::kWsd);
  CHECK(c.train.schedule.decay_share == 0.25);
  CHECK(c.metrics.logging.loggers == std::vector<Logger>{Logger::kTensorboard});
}

TEST_CASE("--set writes over the file, with YAML values, and the last one counts", "[configs]") {
  const test::Folder folder;
  const std::string file = folder.write("x.yaml", kBase);
  const Config c =
      read_config(file, {"data.train=[b,c]", "train.optimizer.lr=1e-3", "train.optimizer={clip: 0, eps: 1e-9}",
                         "run.name=a=b", "checkpoint.async=false", "train.micro_batch=3", "train.micro_batch=5"});
  CHECK(c.data.train == std::vector<std::string>{"b", "c"});
  CHECK(c.train.optimizer.lr == 1e-3);
  CHECK(c.train.optimizer.clip == 0);
  CHECK(c.train.optimizer.eps == 1e-9);
  CHECK(c.run.name == "a=b");
  CHECK_FALSE(c.checkpoint.async);
  CHECK(c.train.micro_batch == 5);
  CHECK(c.train.tokens == 100e9);
}

TEST_CASE("a chain of files overrides key by key, relative to each file", "[configs]") {
  const test::Folder folder;
  folder.write("deep/base.yaml", kBase + "model: {d_model: 64, ffn: {d_hidden: 96}}\n");
  folder.write("middle.yaml", "extends: deep/base.yaml\nmodel: {d_model: 32}\n");
  const Config c = read_config(folder.write("runs/x.yaml", "model: {n_layers: 2}\nextends: ../middle.yaml\n"));
  CHECK(c.model.d_model == 32);
  CHECK(c.model.n_layers == 2);
  CHECK(c.model.ffn.d_hidden == 96);
  CHECK(c.train.micro_batch == 2);
}

TEST_CASE("of a list of files later ones override earlier ones, with all that they extend", "[configs]") {
  const test::Folder folder;
  folder.write("base.yaml", kBase + "model: {d_model: 64, n_layers: 9}\n");
  folder.write("row.yaml", "extends: base.yaml\nmodel: {vocab_size: 7, ffn: {kind: gelu, gelu: tanh, d_hidden: 96}}\n");
  folder.write("size.yaml", "train: {steps: 5}\nmodel: {d_model: 32}\n");
  const Config c = read_config(folder.write("x.yaml", "extends: [row.yaml, size.yaml]\nmodel: {context: 16}\n"));
  CHECK(c.model.d_model == 32);
  CHECK(c.model.n_layers == 9);
  CHECK(c.model.vocab_size == 7);
  CHECK(c.model.ffn.gelu == GeluKind::kTanh);
  CHECK(c.model.context == 16);
  CHECK(c.train.steps == 5);
  CHECK_FALSE(c.train.tokens);  // given by row's base, and steps later

  // The other way round the row's base counts last.
  const Config other = read_config(folder.write("y.yaml", "extends: [size.yaml, row.yaml]\n"));
  CHECK(other.model.d_model == 64);
  CHECK(other.train.tokens == 100e9);
  CHECK_FALSE(other.train.steps);
}

TEST_CASE("a size that comes from another base than the choice that disables it is dropped", "[configs]") {
  const test::Folder folder;
  folder.write("row.yaml", kBase + "model: {ffn: {kind: linear}}\n");
  folder.write("size.yaml", "model: {d_model: 32, ffn: {d_hidden: 96}}\n");
  const Config c = read_config(folder.write("x.yaml", "extends: [row.yaml, size.yaml]\n"));
  CHECK(c.model.ffn.kind == FfnKind::kLinear);
  CHECK(c.model.d_model == 32);
  CHECK_FALSE(c.model.ffn.d_hidden);
  CHECK(write_config(c).find("d_hidden") == std::string::npos);

  folder.write("y.yaml", "extends: [row.yaml, size.yaml]\nmodel: {ffn: {d_hidden: 48}}\n");
  CHECK(folder.refusal("y.yaml") ==
        "y.yaml:2: model.ffn.d_hidden: has an effect only with ffn kinds swiglu and gelu, which have a hidden layer "
        "(model.ffn.kind: row.yaml:5); remove it, or change model.ffn.kind");
}

TEST_CASE("a dropped choice takes the keys that hang on it along", "[configs]") {
  const test::Folder folder;
  const std::string base = folder.write(
      "base.yaml", kBase + "model: {norm: {kind: dynamic_tanh, beta: true, alpha: {attention: 0.3, final: 0.4}}}\n");
  const Config none = read_config(base, {"model.norm={input: false, final: false}"});
  CHECK(none.model.norm.kind == NormKind::kRmsNorm);
  CHECK_FALSE(none.model.norm.beta);
  CHECK(none.model.norm.alpha.final == AlphaConfig{}.final);
  const std::string text = write_config(none);
  for (const char* key : {"kind: rmsnorm", "kind: dynamic_tanh", " eps: 1.0e-05", "alpha", "beta:"}) {
    CAPTURE(key);
    CHECK(text.find(key) == std::string::npos);
  }

  const Config final_only = read_config(base, {"model.norm.input=false"});
  CHECK(final_only.model.norm.kind == NormKind::kDynamicTanh);
  CHECK(final_only.model.norm.alpha.attention == AlphaConfig{}.attention);
  CHECK(final_only.model.norm.alpha.final == 0.4);
}

TEST_CASE("of tokens and steps the one that was written later counts", "[configs]") {
  const test::Folder folder;
  const std::string base = folder.write("base.yaml", kBase);
  const std::string child = folder.write("child.yaml", "extends: base.yaml\ntrain: {steps: 7}\n");
  const Config by_file = read_config(child);
  CHECK(by_file.train.steps == 7);
  CHECK_FALSE(by_file.train.tokens);
  const Config by_set = read_config(base, {"train.steps=8"});
  CHECK(by_set.train.steps == 8);
  CHECK_FALSE(by_set.train.tokens);
  const Config back = read_config(child, {"train.tokens=1e6"});
  CHECK_FALSE(back.train.steps);
  CHECK(back.train.tokens == 1e6);
}

TEST_CASE("a key that a later choice makes useless is dropped, one written later than the choice is refused",
          "[configs]") {
  const test::Folder folder;
  folder.write("base.yaml", kBase + "  schedule: {kind: wsd, decay_share: 0.3, min_ratio: 0.2}\n");

  const Config cosine = read_config(folder.path("base.yaml"), {"train.schedule.kind=cosine"});
  CHECK(cosine.train.schedule.decay_share == ScheduleConfig{}.decay_share);
  CHECK(cosine.train.schedule.min_ratio == 0.2);

  folder.write("constant.yaml", "extends: base.yaml\ntrain: {schedule: {kind: constant}}\n");
  const Config constant = read_config(folder.path("constant.yaml"));
  CHECK(constant.train.schedule.min_ratio == ScheduleConfig{}.min_ratio);

  // What was dropped on the way does not come back.
  folder.write("again.yaml", "extends: constant.yaml\ntrain: {schedule: {kind: wsd}}\n");
  CHECK(read_config(folder.path("again.yaml")).train.schedule.decay_share == ScheduleConfig{}.decay_share);

  folder.write("late.yaml", "extends: constant.yaml\ntrain: {schedule: {min_ratio: 0.5}}\n");
  CHECK(folder.refusal("late.yaml") ==
        "late.yaml:2: train.schedule.min_ratio: has no effect with a constant schedule (train.schedule.kind: "
        "constant.yaml:2); remove it, or change train.schedule.kind");

  folder.write("held.yaml", "data: {train: [a], holdout: 0.02}\ntrain: {steps: 1}\n");
  const Config named = read_config(folder.path("held.yaml"), {"data.validation=[v]"});
  CHECK(named.data.holdout == DataConfig{}.holdout);
}

TEST_CASE("an impossible value is placed where it was written last", "[configs]") {
  const test::Folder folder;
  folder.write("base.yaml", kBase);
  folder.write("child.yaml", "extends: base.yaml\nrun: {name: a}\n\ntrain:\n  micro_batch: -2\n");
  CHECK(folder.refusal("child.yaml") == "child.yaml:5: train.micro_batch: -2, must be at least 1");
  CHECK(folder.refusal("child.yaml", {"train.micro_batch=-3"}) ==
        "--set train.micro_batch=-3: train.micro_batch: -3, must be at least 1");
  CHECK(folder.refusal("child.yaml", {"train.micro_batch=1"}) == "accepted");
}

TEST_CASE("a resolved config extends nothing", "[configs]") {
  CHECK_THROWS_WITH(read_config_text("extends: a.yaml\n", "state.json"),
                    "state.json:1: extends: cannot stand in a resolved config");
}

}  // namespace
}  // namespace spikesink
