#include "configs/writer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "configs/schema.h"

namespace spikesink {
namespace {

Config complete() {
  Config c;
  c.data.train = {"a.jsonl"};
  c.train.steps = 10;
  return c;
}

TEST_CASE("a written config reads back to the last bit", "[configs]") {
  Config c = complete();
  c.train.optimizer.lr = 0.1 + 0.2;
  c.train.optimizer.weight_decay = std::numeric_limits<double>::denorm_min();
  c.train.optimizer.betas = {std::nextafter(1.0, 0.0), 1.0 / 3};
  c.run.seed = std::numeric_limits<std::int64_t>::min();
  c.metrics.probe.spike.ratio = 1e300;
  c.train.schedule.kind = ScheduleKind::kWsd;
  c.train.schedule.decay_share = 1e-7;
  c.model.attention.n_kv_heads = 8;
  const Config back = read_config_text(write_config(c), "text");
  CHECK(config_difference(c, back) == std::vector<std::string>{});
  // Independently of the writer: the doubles themselves.
  CHECK(back.train.optimizer.lr == c.train.optimizer.lr);
  CHECK(back.train.optimizer.weight_decay == c.train.optimizer.weight_decay);
  CHECK(back.train.optimizer.betas == c.train.optimizer.betas);
  CHECK(back.run.seed == c.run.seed);
  CHECK(back.metrics.probe.spike.ratio == 1e300);
  CHECK(back.train.schedule.decay_share == 1e-7);
  CHECK(back.model.attention.n_kv_heads == 8);
  CHECK(back.train.steps == 10);
  CHECK_FALSE(back.train.tokens);
  CHECK_FALSE(back.model.ffn.d_hidden);
}

TEST_CASE("texts that YAML could take for something else come back as they were", "[configs]") {
  const std::string text = GENERATE(values<std::string>({"plain",       "data/dclm/*.jsonl.zst",
                                                         "*.jsonl",     "a, b",
                                                         "[a]",         "a: b",
                                                         "a #b",        "# a",
                                                         "null",        "~",
                                                         "true",        "No",
                                                         "1e5",         "007",
                                                         "-",           "- a",
                                                         " a",          "a ",
                                                         "\"a\"",       "it's",
                                                         "C:\\a",       "\\n",
                                                         "&a",          "!a",
                                                         "%a",          "@a",
                                                         "`a",          "{a",
                                                         "?",           "? a",
                                                         "|",           ">",
                                                         "caf\xc3\xa9", "\xf0\x9f\x8e\x89"}));
  Config c = complete();
  c.data.train = {text, "b", text};
  c.data.tokenizer = text;
  CAPTURE(write_config(c));
  const Config back = read_config_text(write_config(c), "text");
  CHECK(back.data.train == c.data.train);
  CHECK(back.data.tokenizer == text);
}

TEST_CASE("a text with control characters is written so that it is refused for them", "[configs]") {
  Config c = complete();
  c.data.tokenizer = GENERATE("tab\there", "line\nbreak", "\x01", "a\x7f");
  CHECK_THROWS_WITH(read_config_text(write_config(c), "text"),
                    Catch::Matchers::EndsWith("data.tokenizer: must be one line of UTF-8 without control characters"));
}

TEST_CASE("keys stand in schema order, without those that are absent or have no effect", "[configs]") {
  Config c = complete();
  c.train.schedule.kind = ScheduleKind::kConstant;
  const std::string text = write_config(c);
  CHECK(text.find("run:\n  name: run\n  dir: runs\n  seed: 1\nmodel:\n  d_model: 4096\n") == 0);
  CHECK(text.find("    lr: 3.0e-04\n    betas: [0.9, 0.95]\n    eps: 1.0e-08\n") != std::string::npos);
  CHECK(text.find("  schedule:\n    kind: constant\n    warmup_steps: 2000\nsystem:\n") != std::string::npos);
  for (const char* key :
       {"min_ratio", "decay_share", "tokens:", "d_hidden", "n_kv_heads", "alpha", "beta:", "granularity", "gelu"}) {
    CAPTURE(key);
    CHECK(text.find(std::string(" ") + key) == std::string::npos);
  }
}

TEST_CASE("every kind reads back as it was written, without the keys that it makes useless", "[configs]") {
  Config c = complete();
  c.model.norm.kind = GENERATE(NormKind::kRmsNorm, NormKind::kLayerNorm, NormKind::kDynamicTanh);
  c.model.norm.input = GENERATE(false, true);
  c.model.norm.final = GENERATE(false, true);
  c.model.norm.qk = GENERATE(QkNorm::kNone, QkNorm::kFull);
  c.model.ffn.kind = GENERATE(FfnKind::kSwiGlu, FfnKind::kGelu, FfnKind::kLinear, FfnKind::kAttention);
  c.model.ffn.d_hidden = 64;
  c.model.attention.gate.source = GENERATE(GateSource::kNone, GateSource::kToken);
  const Config back = read_config_text(write_config(c), "text");
  CHECK(config_difference(c, back) == std::vector<std::string>{});
  CHECK(write_config(back) == write_config(c));
}

TEST_CASE("the described schema is a config that reads back to the defaults", "[configs]") {
  const std::vector<std::string> needed = {"data.train=[a.jsonl]", "train.steps=10"};
  const Config described = read_config_text(describe_schema(), "schema", needed);
  CHECK(config_difference(described, complete()) == std::vector<std::string>{});
}

TEST_CASE("the described schema has a line for every key, with its help", "[configs]") {
  const std::string text = describe_schema();
  Config config;
  walk(config, [&](const std::string& path, auto&, const char* help) {
    CAPTURE(path, help);
    CHECK_FALSE(std::string(help).empty());
    const std::size_t at = text.find("# " + std::string(help) + "\n");
    REQUIRE(at != std::string::npos);
    const std::string line = text.substr(text.rfind('\n', at) + 1, at - text.rfind('\n', at) - 1);
    CHECK(line.find(std::string(name_of(path)) + ":") != std::string::npos);
  });
}

TEST_CASE("a difference names key, old and new value in schema order", "[configs]") {
  const Config before = complete();
  Config after = before;
  CHECK(config_difference(before, after).empty());
  after.model.ffn.d_hidden = 512;
  after.train.steps.reset();
  after.train.tokens = 1e9;
  after.train.optimizer.lr = 1e-3;
  after.train.schedule.kind = ScheduleKind::kConstant;
  CHECK(config_difference(before, after) ==
        std::vector<std::string>{"model.ffn.d_hidden: absent -> 512", "train.tokens: absent -> 1.0e+09",
                                 "train.steps: 10 -> absent", "train.optimizer.lr: 3.0e-04 -> 0.001",
                                 "train.schedule.kind: cosine -> constant", "train.schedule.min_ratio: 0.1 -> absent"});
}

}  // namespace
}  // namespace spikesink
