#include "data/shards.h"

#include <catch2/catch.hpp>

#include "data/config.h"
#include "tests/data/support.h"

namespace spikesink {
using Catch::Contains;

TEST_CASE("patterns give each shard once, sorted", "[data][shards]") {
  const test::Scratch folder;
  for (const char* name : {"b.jsonl", "a.jsonl.zst", "c[1].jsonl", "d.json.gz"}) test::write(folder / name, "x\n");
  const auto shards = find_shards(
      {folder / "b*", folder / "*.jsonl", folder / "a.jsonl.zst", folder / "c[1].jsonl", folder / "{d,b}.*"},
      "data.train");
  std::vector<std::string> names;
  for (const Shard& shard : shards) names.push_back(std::filesystem::path(shard.path).filename().string());
  CHECK(names == std::vector<std::string>{"a.jsonl.zst", "b.jsonl", "c[1].jsonl", "d.json.gz"});
  CHECK(shards[0].bytes == 2);
}

TEST_CASE("what names no shard says so, with the key", "[data][shards]") {
  const test::Scratch folder;
  test::write(folder / "empty.jsonl", "");
  test::write(folder / "a.parquet", "x");
  const auto message = [&](const std::string& pattern) {
    return test::failure_of([&] { find_shards({pattern}, "data.train"); });
  };
  CHECK_THAT(message(folder / "*.zst"), Contains("data.train: ") && Contains("matches no file"));
  CHECK_THAT(message(folder / "none.jsonl"), Contains("none.jsonl does not exist"));
  std::filesystem::create_symlink("loop.jsonl",
                                  folder / "loop.jsonl");  // as good as a folder that may not be looked into
  CHECK_THAT(message(folder / "loop.jsonl"), Contains("loop.jsonl cannot be read: Too many levels"));
  CHECK_THAT(message(folder / ""), Contains("is a folder"));
  CHECK_THAT(message(folder / "empty.jsonl"), Contains("empty.jsonl is empty"));
  CHECK_THAT(message(folder / "a.parquet"), Contains("a.parquet is no .jsonl"));
  CHECK_THAT(test::failure_of([&] { find_shards({}, "data.train"); }), Contains("names no shards"));
}

TEST_CASE("the fingerprint tells names and sizes, not the folder", "[data][shards]") {
  const std::vector<Shard> shards{{"x/a.jsonl", 10}, {"x/b.jsonl", 20}};
  CHECK(shards_fingerprint(shards) == shards_fingerprint({{"y/z/a.jsonl", 10}, {"y/z/b.jsonl", 20}}));
  CHECK(shards_fingerprint(shards) != shards_fingerprint({{"x/a.jsonl", 20}, {"x/b.jsonl", 10}}));
  CHECK(shards_fingerprint(shards) != shards_fingerprint({{"x/a.jsonl", 10}, {"x/c.jsonl", 20}}));
}

TEST_CASE("shards of one name in several folders have apart names, wherever the folders lie", "[data][shards]") {
  using Names = std::vector<std::string>;
  const auto names = [](const std::vector<std::string>& paths) {
    std::vector<Shard> shards;
    for (const std::string& path : paths) shards.push_back({path, 1});
    return names_of(shards);
  };
  CHECK(names({"x/a.jsonl", "x/b.jsonl"}) == Names{"a.jsonl", "b.jsonl"});
  CHECK(names({"/data/a.jsonl"}) == Names{"a.jsonl"});
  CHECK(names({"x/1/s.jsonl", "x/2/s.jsonl"}) == Names{"1/s.jsonl", "2/s.jsonl"});
  CHECK(names({"/y/x/1/s.jsonl", "/y/./x/2/3/../s.jsonl"}) == Names{"1/s.jsonl", "2/s.jsonl"});
  CHECK(names({"x/a/s.jsonl", "x/ab/s.jsonl", "x/s.jsonl"}) == Names{"a/s.jsonl", "ab/s.jsonl", "s.jsonl"});
  CHECK(names({}).empty());
}

TEST_CASE("a data config that cannot work is refused with its key", "[data][config]") {
  DataConfig good;
  good.train = {"a.jsonl"};
  CHECK(problem_of(good).empty());
  const auto broken = [&](auto change) {
    DataConfig config = good;
    change(config);
    return problem_of(config);
  };
  CHECK_THAT(broken([](DataConfig& c) { c.train.clear(); }), Contains("data.train:"));
  CHECK_THAT(broken([](DataConfig& c) { c.holdout = 1; }), Contains("data.holdout:"));
  CHECK_THAT(broken([](DataConfig& c) { c.holdout = NAN; }), Contains("data.holdout:"));
  CHECK_THAT(broken([](DataConfig& c) { c.holdout = 0; }), Contains("data.holdout:"));
  CHECK_THAT(broken([](DataConfig& c) { c.lanes = 0; }), Contains("data.lanes:"));
  CHECK_THAT(broken([](DataConfig& c) { c.lanes = 65537; }), Contains("data.lanes: 65537, must be at most 65536, as"));
  CHECK(broken([](DataConfig& c) { c.lanes = 65536; }).empty());
  CHECK_THAT(broken([](DataConfig& c) { c.max_bad_share = -0.1; }), Contains("data.max_bad_share:"));
  for (const int threads : {-1, 1025})
    CHECK_THAT(broken([&](DataConfig& c) { c.threads = threads; }), Contains("data.threads:"));
  CHECK_THAT(broken([](DataConfig& c) { c.tokenizer.clear(); }), Contains("data.tokenizer:"));
  CHECK(broken([](DataConfig& c) { c.holdout = 0, c.validation = {"v.jsonl"}; }).empty());
}

}  // namespace spikesink
