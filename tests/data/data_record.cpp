#include "data/data_record.h"

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
    const DataRecord record = DataRecord::of({folder / "a.jsonl"}, "data.train", {});
    REQUIRE(record.shards.size() == 1);
    CAPTURE(size);
    CHECK(record.shards[0].name == "a.jsonl");
    CHECK(record.shards[0].bytes == size);
    CHECK(record.shards[0].ends == crc(size <= 2 * kEnd ? text : text.substr(0, kEnd) + text.substr(size - kEnd)));
  }
}

TEST_CASE("a record goes into its file and back, and a damaged one says so", "[data][data_record]") {
  const test::Scratch folder;
  for (const char* name : {"a.jsonl", "b.jsonl"}) test::write(folder / name, std::string(name) + "\n");
  const DataRecord record = DataRecord::of({folder / "*.jsonl"}, "data.train", {{"run.seed", "1"}});
  CHECK(DataRecord::from_json(record.to_json()) == record);
  const std::string file = folder / "data.json";
  for (const char* text : {"", "{}", "[]", R"({"format":1,"fingerprint":{},"shards":{"rows":[["a",2,"x1"]]}})"}) {
    test::write(file, text);
    CHECK_THAT(test::failure_of([&] { keep_data_record(file, record, DataStart::kGoesOn); }),
               Contains("data.json: is damaged (") || Contains("data.json: is damaged: "));
  }
}

TEST_CASE("a record that cannot be looked at is none that is missing", "[data][data_record]") {
  const test::Scratch folder;
  test::write(folder / "a.jsonl", "a\n");
  const DataRecord record = DataRecord::of({folder / "*.jsonl"}, "data.train", {});
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
    keep_data_record(file, DataRecord::of({folder / "*.jsonl"}, "data.train", {{"run.seed", seed}}), how);
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
      CHECK_THAT(test::failure_of([&] { start(how); }), Contains("data.train: b.jsonl is not the file"));
  }
  CHECK(read_file(file) == before);
  test::write(folder / "b.jsonl", text_of(200000));
  CHECK_THAT(test::failure_of([&] { start(DataStart::kReplays, "2"); }),
             Contains("run.seed: is 2, but was 1 when the run started"));
  start(DataStart::kBegins, "2");
  start(DataStart::kReplays, "2");
}

}  // namespace spikesink
