#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <functional>

#include "data/store/parts.h"
#include "data/store/prepare.h"
#include "data/store/token_store.h"
#include "prepare_setup.h"

// Shards that become other files of the same name: between runs, and while they are read.

using namespace spikesink;
using Catch::Matchers::Contains;
using test::failure_of;
namespace fs = std::filesystem;

namespace {
std::string document_line(const std::string& text) { return fmt::format("{{\"text\": \"{}\"}}\n", text); }

/// Three shards, of which the last is broken off, so that a preparation ends with the others done.
struct Begun {
  test::Scratch folder;
  std::unique_ptr<Tokenizer> bytes = make_tokenizer("bytes");
  std::string last = test::gzip_member(document_line("last"));

  Begun() {
    test::write(folder / "a.jsonl", document_line("once") + document_line("more"));
    test::write(folder / "b.jsonl", document_line("then") + document_line("once"));
    test::write(folder / "c.jsonl.gz", last.substr(0, last.size() - 3));
  }
  PrepareOptions options(const std::string& out, bool deduplicate) const {
    return {.inputs = {folder / "*.jsonl*"},
            .tokenizer = *bytes,
            .out = folder / out,
            .holdout = 0,
            .deduplicate = deduplicate};
  }
  std::string text(const std::string& out) const {
    const TokenStore store(folder / out);
    std::vector<std::int32_t> all(static_cast<std::size_t>(store.tokens()));
    store.read(0, all);
    return bytes->decode(all);
  }
  /// Another file of equal size, a second later than the file before.
  void replace(const std::string& name, const std::string& content) const {
    const auto before = fs::last_write_time(folder / name);
    REQUIRE(fs::file_size(folder / name) == content.size());
    test::write(folder / name, content);
    fs::last_write_time(folder / name, before + std::chrono::seconds(1));
  }
};

/// Does something before each text.
struct Acting final : Tokenizer {
  Acting(const Tokenizer& inner, std::function<void()> act) : inner_(inner), act_(std::move(act)) {}
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    act_();
    inner_.encode(text, ids);
  }
  std::string decode(std::span<const std::int32_t> ids) const override { return inner_.decode(ids); }
  std::int64_t vocab_size() const override { return inner_.vocab_size(); }
  std::int32_t end_of_text() const override { return inner_.end_of_text(); }
  std::optional<std::int32_t> begin_of_text() const override { return inner_.begin_of_text(); }
  std::string name() const override { return inner_.name(); }
  const Tokenizer& inner_;
  std::function<void()> act_;
};
}  // namespace

TEST_CASE("a shard that was replaced by one of equal size between runs is prepared again", "[data][prepare]") {
  const Begun begun;
  const bool deduplicate = GENERATE(false, true);
  const auto options = begun.options("s", deduplicate);
  REQUIRE_THAT(failure_of([&] { prepare_store(options); }), Contains("c.jsonl.gz: broken near byte"));
  begun.replace("a.jsonl", document_line("late") + document_line("then"));
  test::write(begun.folder / "c.jsonl.gz", begun.last);
  prepare_store(options);
  CHECK(begun.text("s") == (deduplicate ? "latethenoncelast" : "latethenthenoncelast"));
}

TEST_CASE("a shard that is replaced after documents were compared is compared anew", "[data][prepare]") {
  const Begun begun;
  test::write(begun.folder / "c.jsonl.gz", begun.last);
  const auto options = begun.options("s", true);
  const Parts parts(options.out);
  const Acting stops(*begun.bytes, [] { throw DataError("stopped"); });
  const PrepareOptions until_then{
      .inputs = options.inputs, .tokenizer = stops, .out = options.out, .holdout = 0, .deduplicate = true};
  REQUIRE_THAT(failure_of([&] { prepare_store(until_then); }), Contains("stopped"));
  REQUIRE(fs::exists(parts.duplicates(0)));
  begun.replace("a.jsonl", document_line("last") + document_line("then"));
  prepare_store(options);
  CHECK(begun.text("s") == "lastthenonce");
}

TEST_CASE("a broken shard is left out by a blank one in its place", "[data][prepare]") {
  const Begun begun;
  const auto options = begun.options("s", false);
  REQUIRE_FALSE(failure_of([&] { prepare_store(options); }).empty());
  test::write(begun.folder / "c.jsonl.gz", test::gzip_member("\n"));
  prepare_store(options);
  CHECK(begun.text("s") == "oncemorethenonce");
}

TEST_CASE("results of another file than a worker sees make no store", "[data][prepare]") {
  const Begun begun;
  const auto options = begun.options("s", false);
  REQUIRE_FALSE(failure_of([&] { prepare_store(options); }).empty());
  const Parts parts(options.out);
  test::write(begun.folder / "c.jsonl.gz", begun.last);
  // Another worker, which sees another a.jsonl, puts its record in place after this one has looked.
  ShardRecord other = ShardRecord::read(parts.record(0));
  other.stamp = "0123456789abcdef";
  const Acting late(*begun.bytes, [&] { test::write(parts.record(0), other.to_json()); });
  const PrepareOptions with_late{.inputs = options.inputs, .tokenizer = late, .out = options.out, .holdout = 0};
  CHECK_THAT(failure_of([&] { prepare_store(with_late); }),
             Contains("a.jsonl: another process prepared another file of this name"));
  CHECK_FALSE(is_store(options.out));
  prepare_store(options);
  CHECK(begun.text("s") == "oncemorethenoncelast");
}

TEST_CASE("an index of Megatron-LM that is replaced is seen", "[data][prepare]") {
  const test::Scratch folder;
  const auto bytes = make_tokenizer("bytes");
  const auto le = [](auto value) { return std::string(reinterpret_cast<const char*>(&value), sizeof value); };
  // Four tokens in two documents, cut after the token `cut`.
  const auto index = [&](std::int32_t cut) {
    using namespace std::string_literals;
    return "MMIDIDX\0\0"s + le(std::uint64_t{1}) + le(std::uint8_t{8}) + le(std::uint64_t{2}) + le(std::uint64_t{3}) +
           le(cut) + le(std::int32_t{4} - cut) + le(std::int64_t{0}) + le(std::int64_t{2} * cut) + le(std::int64_t{0}) +
           le(std::int64_t{1}) + le(std::int64_t{2});
  };
  std::string ids;
  for (const char c : {'a', 'b', 'c', 'd'}) ids += le(static_cast<std::uint16_t>(c));
  test::write(folder / "a.bin", ids);
  test::write(folder / "a.idx", index(1));
  test::write(folder / "b.bin", ids.substr(1));  // no whole ids: ends the first try
  test::write(folder / "b.idx", index(1));
  const PrepareOptions options{.inputs = {folder / "*.bin"}, .tokenizer = *bytes, .out = folder / "s", .holdout = 0};
  REQUIRE_THAT(failure_of([&] { prepare_store(options); }), Contains("b.bin: has 7 bytes"));
  const auto before = fs::last_write_time(folder / "a.idx");
  test::write(folder / "a.idx", index(3));
  fs::last_write_time(folder / "a.idx", before + std::chrono::seconds(1));
  test::write(folder / "b.bin", ids);
  prepare_store(options);
  CHECK(TokenStore(options.out).document_starts(0, 12) == std::vector<std::int64_t>{0, 4, 6, 8});
}
