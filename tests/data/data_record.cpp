#include "data/data_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "tests/data/support.h"

namespace spikesink {
using Catch::Contains;
using Catch::StartsWith;
namespace {

/// Text of several ends.
std::string text_of(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text += static_cast<char>('a' + i * i % 23);
  return text;
}

}  // namespace

TEST_CASE("a record has the checksum of each shard's two ends, no byte twice", "[data][data_record]") {
  constexpr std::size_t kEnd = DataRecord::kEnd;
  const test::Scratch folder;
  const auto crc = [](const std::string& bytes) { return crc32c(std::as_bytes(std::span(bytes))); };
  for (const std::size_t size : {std::size_t{1}, kEnd, kEnd + 1, 2 * kEnd, 2 * kEnd + 1, 3 * kEnd}) {
    const std::string text = text_of(size);
    test::write(folder / "a.jsonl", text);
    const DataRecord record = DataRecord::of({folder / "a.jsonl"}, "data.train", {}, {});
    REQUIRE(record.shards.size() == 1);
    CAPTURE(size);
    CHECK(record.shards[0].name == "a.jsonl");
    CHECK(record.shards[0].bytes == size);
    CHECK(record.shards[0].ends == crc(size <= 2 * kEnd ? text : text.substr(0, kEnd) + text.substr(size - kEnd)));
  }
}

TEST_CASE("the ranks of a node read the ends of all shards between them, and hold them against rank 0's",
          "[data][data_record]") {
  constexpr std::size_t kShards = 150;
  const test::Scratch folder;
  const auto shard = [&](std::size_t i) { return folder / fmt::format("{:03}.jsonl", i); };
  for (std::size_t i = 0; i < kShards; ++i) test::write(shard(i), fmt::format("{:03}\n", i));
  const auto record_of = [&](const DataRecord::Share& share) {
    return DataRecord::of({folder / "*.jsonl"}, "data.train", {}, share);
  };
  const DataRecord first = record_of({});
  const std::size_t other = GENERATE(0, 63, 64, 127, 128, 149);
  const int ranks = GENERATE(1, 2, 3, 8);
  CAPTURE(other, ranks);
  test::write(shard(other), "xyz\n");
  std::vector<int> readers(kShards);
  bool is_found = false;
  for (int rank = 0; rank < ranks; ++rank) {
    const DataRecord mine = record_of({rank, ranks});
    std::size_t read = 0;
    for (std::size_t i = 0; i < kShards; ++i) {
      readers[i] += mine.shards[i].ends.has_value();
      read += mine.shards[i].ends.has_value();
    }
    CHECK(read == std::max(DataRecord::Share::kFewest, kShards / static_cast<std::size_t>(ranks)));
    const auto found = difference(first, mine);
    CHECK(found.has_value() == mine.shards[other].ends.has_value());
    if (found) CHECK_THAT(found->what, Contains(fmt::format("{:03}.jsonl is another file", other)));
    is_found = is_found || found;
  }
  CHECK(is_found);
  CHECK(std::ranges::min(readers) >= 1);
}

TEST_CASE("a record goes into its file and back, and a damaged one says so", "[data][data_record]") {
  const test::Scratch folder;
  for (const char* name : {"a.jsonl", "b.jsonl"}) test::write(folder / name, std::string(name) + "\n");
  DataRecord record = DataRecord::of({folder / "*.jsonl"}, "data.train", {{"run.seed", "1"}}, {});
  record.held_out = {.from = "data.train", .asked = 3, .sequences = {7, 0xFFFFFFFF}};
  CHECK(DataRecord::from_json(record.to_json()) == record);
  const std::string file = folder / "data.json";
  for (const char* text :
       {"", "{}", "[]", R"({"format":1,"fingerprint":{},"shards":{"rows":[["a",2,"x1"]]}})",
        R"({"format":1,"fingerprint":{},"shards":{"rows":[]},"held_out":{"from":"a","asked":1,"crc32c":["1g"]}})",
        R"({"format":1,"fingerprint":{},"shards":{"rows":[]},"held_out":{"from":"a"}})"}) {
    test::write(file, text);
    CHECK_THAT(test::failure_of([&] { keep_data_record(file, record, DataStart::kGoesOn); }),
               Contains("data.json: is damaged (") || Contains("data.json: is damaged: "));
  }
}

TEST_CASE("a record that cannot be looked at is none that is missing", "[data][data_record]") {
  const test::Scratch folder;
  test::write(folder / "a.jsonl", "a\n");
  const DataRecord record = DataRecord::of({folder / "*.jsonl"}, "data.train", {}, {});
  const std::string file = folder / "data.json";
  const auto [leads_to, says] = GENERATE(
      table<std::string, std::string>({{"data.json", "cannot be looked at"}, {"no disk", "a link to no disk"}}));
  std::filesystem::create_symlink(leads_to, file);
  for (const DataStart how : {DataStart::kGoesOn, DataStart::kReplays})
    CHECK_THAT(test::failure_of([&] { keep_data_record(file, record, how); }),
               StartsWith(file + ": ") && Contains(says));
  CHECK(std::filesystem::is_symlink(file));
}

TEST_CASE("other data than a run started with is refused by name, but where it starts anew", "[data][data_record]") {
  const test::Scratch folder;
  const std::string file = folder / "data.json";
  const auto start = [&](DataStart how, const char* seed = "1") {
    keep_data_record(file, DataRecord::of({folder / "*.jsonl"}, "data.train", {{"run.seed", seed}}, {}), how);
  };
  for (const char* name : {"a.jsonl", "b.jsonl", "c.jsonl"}) test::write(folder / name, text_of(200000));
  start(DataStart::kReplays);
  CHECK_FALSE(std::filesystem::exists(file));  // of an older version's run
  start(DataStart::kGoesOn);
  const std::string before = read_file(file);
  start(DataStart::kGoesOn);
  start(DataStart::kReplays);
  for (const std::size_t at : {std::size_t{0}, std::size_t{199999}}) {
    std::string other = text_of(200000);
    other[at] = '!';
    test::write(folder / "b.jsonl", other);
    for (const DataStart how : {DataStart::kGoesOn, DataStart::kReplays})
      CHECK_THAT(test::failure_of([&] { start(how); }),
                 Contains("data.train: b.jsonl is another file of the same size: "));
  }
  CHECK(read_file(file) == before);
  test::write(folder / "b.jsonl", text_of(200000));
  CHECK_THAT(test::failure_of([&] { start(DataStart::kReplays, "2"); }),
             Contains("run.seed: is 2, but was 1 when the run started"));
  start(DataStart::kBegins, "2");
  start(DataStart::kReplays, "2");
}

namespace {

/// A run's record, whose shard is the same always, and what a start with such sequences to probe says.
class Probed {
 public:
  Probed() { test::write(folder_ / "a.jsonl", text_of(10)); }
  std::string file() const { return folder_ / "data.json"; }
  /// As a config that asks for `asked` sequences of `context` + 1 tokens has them.
  std::string start(DataStart how, const std::vector<std::int32_t>& tokens, std::int64_t asked) const {
    DataRecord record = DataRecord::of({folder_ / "a.jsonl"}, "data.train", {}, {});
    record.held_out = DataRecord::HeldOut::of(config, tokens, /*context=*/2, asked);
    return test::failure_of([&] { keep_data_record(file(), record, how); });
  }

  DataConfig config;

 private:
  test::Scratch folder_;
};

}  // namespace

TEST_CASE("a run whose probes would measure other text is refused with the first sequence of it",
          "[data][data_record]") {
  Probed run;
  if (GENERATE(false, true)) run.config.validation = {"val.jsonl"};
  const std::string key = run.config.validation.empty() ? "data.train" : "data.validation";
  REQUIRE(run.start(DataStart::kBegins, {1, 2, 3, 3, 4, 5, 5, 6, 7}, 3) == "");
  CHECK(run.start(DataStart::kGoesOn, {1, 2, 3, 3, 4, 5, 5, 6, 7}, 3) == "");
  const std::string other = run.start(DataStart::kGoesOn, {1, 2, 3, 3, 4, 9, 5, 6, 7}, 3);
  CHECK_THAT(other, Contains(key + ": the checksum of sequence 2 of those that probes measure is "));
  CHECK_THAT(other, Contains("when the run started; put that data back, or start a new run"));
  CHECK(run.start(DataStart::kReplays, {1, 2, 3, 3, 4, 9, 5, 6, 7}, 3) == "");  // which probes nothing of it
  CHECK_THAT(run.start(DataStart::kGoesOn, {1, 2, 3}, 3),
             Contains(key + ": the number of sequences that probes can measure is 1, but was 3"));
}

TEST_CASE("more or fewer sequences of the same text may be probed, and all are known from then on",
          "[data][data_record]") {
  const Probed run;
  REQUIRE(run.start(DataStart::kBegins, {1, 2, 3, 3, 4, 5}, 2) == "");
  CHECK(run.start(DataStart::kGoesOn, {1, 2, 3}, 1) == "");
  CHECK(run.start(DataStart::kGoesOn, {1, 2, 3, 3, 4, 5, 5, 6, 7}, 4) == "");  // of which there are three
  CHECK(run.start(DataStart::kGoesOn, {1, 2, 3}, 1) == "");
  CHECK_THAT(run.start(DataStart::kGoesOn, {1, 2, 3, 3, 4, 5, 5, 6, 8}, 3), Contains("sequence 3"));
  CHECK_THAT(run.start(DataStart::kGoesOn, {1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9}, 4), Contains("is 4, but was 3"));
  CHECK(run.start(DataStart::kGoesOn, {1, 2, 3, 3, 4, 5, 5, 6, 7}, 9) == "");
}

TEST_CASE("the record of an older version gets what it lacks of the probed text", "[data][data_record]") {
  const Probed run;
  REQUIRE(run.start(DataStart::kBegins, {1, 2, 3}, 1) == "");
  std::string text = read_file(run.file());
  const auto at = text.find(",\"held_out\":");
  REQUIRE(at != std::string::npos);
  test::write(run.file(), text.substr(0, at) + "}\n");
  CHECK(run.start(DataStart::kReplays, {1, 2, 9}, 1) == "");
  CHECK(read_file(run.file()) == text.substr(0, at) + "}\n");
  CHECK(run.start(DataStart::kGoesOn, {1, 2, 3}, 1) == "");
  CHECK(read_file(run.file()) == text);
  CHECK_THAT(run.start(DataStart::kGoesOn, {1, 2, 9}, 1), Contains("sequence 1"));
}

}  // namespace spikesink
