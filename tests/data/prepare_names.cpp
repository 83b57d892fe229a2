// What a store and its messages call tokenizers, shards and documents.
#include <catch2/catch.hpp>
#include <filesystem>

#include "data/store/prepare.h"
#include "io/atomic_file.h"
#include "support.h"

using namespace spikesink;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {
std::string refusal(const PrepareOptions& options) {
  return test::failure_of([&] { prepare_store(options); });
}
}  // namespace

TEST_CASE("a store is gone on with by a tokenizer's file that was renamed, and keeps its name", "[data][prepare]") {
  const test::Scratch folder;
  const std::string text = test::line_of("1:2") + test::line_of("2:5");
  test::write(folder / "a.jsonl", text);
  const std::string packed = test::gzip_member(text);
  test::write(folder / "b.jsonl.gz", std::string(packed.size(), '?'));
  struct Named final : test::NumberedTokens {
    explicit Named(std::string is) : is_(std::move(is)) {}
    std::string name() const override { return is_; }
    std::string is_;
  };
  const Named first("old.model 0123"), renamed("new.model 0123"), other("old.model 4567");
  const auto options = [&](const Tokenizer& tokenizer) {
    return PrepareOptions{.inputs = {folder / "[ab].jsonl*"}, .tokenizer = tokenizer, .out = folder / "s"};
  };
  REQUIRE_FALSE(refusal(options(first)).empty());
  test::write(folder / "b.jsonl.gz", packed);
  CHECK_THAT(refusal(options(other)), Contains("old.model 0123") && Contains("not \"old.model 4567"));
  CHECK(prepare_store(options(renamed)).tokenizer == "old.model 0123");
  CHECK(prepare_store(options(renamed)).tokenizer == "old.model 0123");  // whole by now
  CHECK_FALSE(refusal(options(other)).empty());
}

TEST_CASE("shards of one name are told apart in the store and in messages, wherever they lie", "[data][prepare]") {
  const test::Scratch folder;
  for (const char* place : {"x", "y"}) {
    fs::create_directories(folder / place + "/1");
    fs::create_directories(folder / place + "/2");
    test::write(folder / place + "/1/s.jsonl", test::line_of("sound"));
    test::write(folder / place + "/2/s.jsonl", test::line_of("sound") + test::line_of("and more") + "broken\n");
  }
  const auto bytes = make_tokenizer("bytes");
  PrepareOptions options{
      .inputs = {folder / "x/*/s.jsonl"}, .tokenizer = *bytes, .out = folder / "s", .max_bad_share = 0.5};
  const Manifest manifest = prepare_store(options);
  CHECK(manifest.files[0].source == "1/s.jsonl");
  CHECK(manifest.files[1].source == "2/s.jsonl");
  CHECK_THAT(manifest.lines.broken_text(), Contains("(first 2/s.jsonl:3: "));
  options.inputs = {folder / "y/*/s.jsonl"};
  options.out = folder / "t";
  prepare_store(options);
  for (const char* name : {"manifest.json", "shard_00000000.h5", "shard_00000001.h5"})
    CHECK(read_file(folder / "s/" + name) == read_file(folder / "t/" + name));
}

TEST_CASE("a document that cannot be tokenised ends it, named", "[data][prepare]") {
  const test::Scratch folder;
  test::write(folder / "a.jsonl", test::line_of("1:2") + "\n" + test::line_of("!"));
  const test::RefusingTokens tokenizer;
  const PrepareOptions options{.inputs = {folder / "a.jsonl"}, .tokenizer = tokenizer, .out = folder / "s"};
  CHECK(refusal(options) == folder / "a.jsonl" + ":3: no ids for this");
}
