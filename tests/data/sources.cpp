#include "data/sources.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "data/store/prepare.h"
#include "store.h"

using namespace spikesink;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// A file of llm.c's with these ids.
void write_llmc(const std::string& path, const std::vector<std::uint16_t>& ids) {
  std::vector<std::int32_t> header(256);
  header[0] = 20240520;
  header[1] = 1;
  header[2] = static_cast<std::int32_t>(ids.size());
  std::string bytes(reinterpret_cast<const char*>(header.data()), header.size() * sizeof(std::int32_t));
  bytes.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(std::uint16_t));
  test::write(path, bytes);
}

Manifest prepared(const std::vector<std::string>& inputs, const std::string& out) {
  const auto bytes = make_tokenizer("bytes");
  return prepare_store({.inputs = inputs, .tokenizer = *bytes, .out = out, .holdout = 0});
}

}  // namespace

TEST_CASE("a run's stores are told with their tokens, share and epochs", "[data][sources]") {
  const test::Scratch folder;
  const auto bytes = make_tokenizer("bytes");
  const Manifest a = test::write_store(folder / "a", {700, 301});
  test::write_store(folder / "b", {500});
  DataConfig config;
  config.train = {folder / "a", folder / "b"};
  auto sources = data_sources(config, *bytes, 10, 450);  // 100 samples and 49
  REQUIRE(sources.size() == 2);
  CHECK(sources[0].path == folder / "a");
  CHECK(sources[0].tokens == a.files[0].train.tokens + a.files[1].train.tokens);
  CHECK(sources[0].documents == a.files[0].train.documents + a.files[1].train.documents);
  CHECK(sources[0].files == 2);
  CHECK(sources[0].tokenizer == "bytes");
  const auto samples = [&](std::size_t s) { return static_cast<double>((*sources[s].tokens - 1) / 10); };
  CHECK(sources[0].share == Approx(samples(0) / (samples(0) + samples(1))));
  CHECK(*sources[0].epochs == Approx(450 / (samples(0) + samples(1))));
  CHECK(*sources[1].epochs == Approx(*sources[0].epochs));

  config.weights = {1, 3};
  sources = data_sources(config, *bytes, 10, 450);
  CHECK(sources[1].share == Approx(0.75));
  CHECK(*sources[0].epochs == Approx(0.25 * 450 / samples(0)));
  CHECK(*sources[1].epochs == Approx(0.75 * 450 / samples(1)));
}

TEST_CASE("a run's shards are told by pattern, with their part of the bytes", "[data][sources]") {
  const test::Scratch folder;
  const auto bytes = make_tokenizer("bytes");
  test::write(folder / "a1.jsonl", test::line_of(std::string(100, 'x')));
  test::write(folder / "a2.jsonl", test::line_of(std::string(50, 'x')));
  test::write(folder / "b.jsonl", test::line_of(std::string(70, 'x')));
  DataConfig config;
  config.train = {folder / "a*.jsonl", folder / "b.jsonl"};
  const auto sources = data_sources(config, *bytes, 10, 450);
  REQUIRE(sources.size() == 2);
  CHECK(sources[0].files == 2);
  CHECK(sources[0].bytes == fs::file_size(folder / "a1.jsonl") + fs::file_size(folder / "a2.jsonl"));
  CHECK(sources[0].share + sources[1].share == Approx(1));
  CHECK(sources[1].share ==
        Approx(static_cast<double>(sources[1].bytes) / static_cast<double>(sources[0].bytes + sources[1].bytes)));
  CHECK_FALSE(sources[0].tokens);
  CHECK_FALSE(sources[0].epochs);
}

TEST_CASE("validation on what is trained on is doubted, under whatever path", "[data][sources]") {
  const test::Scratch folder;
  std::string text, other;
  for (int d = 0; d < 20; ++d) text += test::line_of(fmt::format("a text of number {}", d));
  for (int d = 0; d < 20; ++d) other += test::line_of(fmt::format("another text of number {}", d));
  test::write(folder / "a.jsonl", text);
  fs::create_directory(folder / "copy");
  test::write(folder / "copy/a.jsonl", text);
  test::write(folder / "b.jsonl", other);
  prepared({folder / "a.jsonl"}, folder / "a");
  prepared({folder / "b.jsonl"}, folder / "b");
  fs::copy(folder / "a", folder / "moved");
  const auto doubts = [&](const std::string& train, const std::string& validation) {
    DataConfig config;
    config.train = {folder / train};
    config.validation = {folder / validation};
    return fmt::format("{}", fmt::join(doubts_about_data(config), "\n"));
  };
  CHECK_THAT(doubts("a", "a"), Contains("has the tokens of " + folder / "a"));
  CHECK_THAT(doubts("a", "moved"), Contains("moved has the tokens of " + folder / "a"));
  CHECK_THAT(doubts("a", "copy/a.jsonl"),
             Contains("copy/a.jsonl has a shard, a.jsonl of ") && Contains("that " + folder / "a of"));
  CHECK_THAT(doubts("a.jsonl", "copy/a.jsonl"), Contains("that " + folder / "a.jsonl of"));
  CHECK_THAT(doubts("a.jsonl", "moved"), Contains("moved has a shard, a.jsonl of "));
  CHECK(doubts("a", "b").empty());
  CHECK(doubts("a", "b.jsonl").empty());
  CHECK(doubts("a.jsonl", "b.jsonl").empty());
}

TEST_CASE("a .bin without any end of text is doubted, one with some is not", "[data][sources]") {
  const test::Scratch folder;
  write_llmc(folder / "none.bin", std::vector<std::uint16_t>(50, 'x'));
  write_llmc(folder / "some.bin", {256, 'a', 'b', 256, 'c'});
  test::write(folder / "one.jsonl", test::line_of("one document"));
  const auto note = [&](const std::vector<std::string>& inputs, const std::string& out) {
    return note_on_ends("STORE", prepared(inputs, folder / out)).value_or("");
  };
  CHECK_THAT(
      note({folder / "none.bin", folder / "some.bin"}, "s"),
      Contains("STORE: 1 of its 2 sources, none.bin the first, had no end of text (id 256 of the tokenizer bytes): "
               "its 51 tokens are one document"));
  CHECK(note({folder / "some.bin"}, "t").empty());
  CHECK(note({folder / "one.jsonl"}, "u").empty());
  DataConfig config;
  config.train = {folder / "s"};
  CHECK(doubts_about_data(config).size() == 1);
}
