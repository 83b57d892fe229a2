#include "data/document.h"

#include <catch2/catch.hpp>
#include <thread>

#include "data/document_stream.h"
#include "tests/data/support.h"

namespace spikesink {
using Catch::Contains;

TEST_CASE("a line gives its text, with escapes resolved, wherever the key stands", "[data][document]") {
  const auto [line, text] = GENERATE(table<std::string, std::string>({
      {R"({"text": "plain"})", "plain"},
      {R"({"url": "u", "metadata": {"text": "inner", "n": [1, {"text": 2}]}, "text": "outer"})", "outer"},
      {R"({"text": "first", "text": "second"})", "first"},
      {R"({"te\u0078t": "first", "text": "second"})", "first"},
      {R"({"url": "u", "\u0074\u0065\u0078\u0074": "all\u0021", "x\ud": 1})", "all!"},
      {R"({"\u0074ext\u0000": "another", "tex\t": 1, "text\"": 2, "text": "third"})", "third"},
      {R"(  {"text":"a\n\t\"\\\/b"}  )", "a\n\t\"\\/b"},
      {R"({"text": "\u00e9\ud83d\ude00"})", "\xC3\xA9\xF0\x9F\x98\x80"},
      {"{\"text\": \"h\xC3\xA4ngt\", \"id\": 123456789012345678901234567890, \"x\": 1e999}\r", "h\xC3\xA4ngt"},
      {R"({"text": " "})", " "},
  }));
  CAPTURE(line);
  const ParsedLine parsed = parse_document(line);
  CHECK_FALSE(parsed.broken);
  CHECK(parsed.text == text);
}

TEST_CASE("a broken line is told apart by its reason", "[data][document]") {
  const auto [line, reason] = GENERATE(table<std::string, Broken>({
      {"hello", Broken::kNotJson},
      {"{", Broken::kNotJson},
      {R"({"text": "cut off)", Broken::kNotJson},
      {R"({"text": "no end")", Broken::kNotJson},
      {R"({"text": "a" "b": 1})", Broken::kNotJson},
      {R"({"text": "a"} {"text": "b"})", Broken::kNotJson},
      {R"({"text": "a"} tail)", Broken::kNotJson},
      {R"(["text", "a"])", Broken::kNotJson},
      {R"("text")", Broken::kNotJson},
      {"17", Broken::kNotJson},
      {"null", Broken::kNotJson},
      {R"({"text": "bad \q escape"})", Broken::kNotJson},
      {std::string("{\"text\": \"a raw \x01 control\"}"), Broken::kNotJson},
      {std::string("\0\0\0", 3), Broken::kNotJson},
      {"{}", Broken::kNoText},
      {R"({"content": "a"})", Broken::kNoText},
      {R"({"Text": "a"})", Broken::kNoText},
      {R"({"text": null})", Broken::kTextNotString},
      {R"({"text": 17})", Broken::kTextNotString},
      {R"({"text": ["a"]})", Broken::kTextNotString},
      {R"({"text": {"text": "a"}, "url": "u"})", Broken::kTextNotString},
      {"{\"text\": \"\xFF\"}", Broken::kBadUtf8},
      {"{\"text\": \"a\", \"url\": \"\xC3\"}", Broken::kBadUtf8},
      {"{\"text\": \"\xED\xA0\x80\"}", Broken::kBadUtf8},
      {R"({"text": "half \ud800 a pair"})", Broken::kBadUtf8},
      {R"({"text": "half \udc00 a pair"})", Broken::kBadUtf8},
      {R"({"text": "two \ud800\ud800"})", Broken::kBadUtf8},
      {R"({"text": ""})", Broken::kEmptyText},
  }));
  CAPTURE(line);
  const ParsedLine parsed = parse_document(line);
  REQUIRE(parsed.broken);
  CHECK(name_of(*parsed.broken) == name_of(reason));
  CHECK_FALSE(parsed.detail.empty());
}

TEST_CASE("no prefix of a document crashes the parser or passes for a document", "[data][document]") {
  const std::string line = R"({"url": "u", "m": [1, {"a": null}], "text": "some \u00e9 text", "z": "\ud83d\ude00"})";
  for (std::size_t size = 0; size < line.size(); ++size) CHECK(parse_document(line.substr(0, size)).broken);
  CHECK_FALSE(parse_document(line).broken);
}

TEST_CASE("lines are counted by what they hold, the first broken one of each kind with its place", "[data][document]") {
  const test::Scratch folder;
  const std::string path = folder / "a.jsonl";
  test::write(path, "\xEF\xBB\xBF" + test::line_of("one") + "\n  \t\r\nnot json\n" + test::line_of("two") +
                        "nor this\n{}\n" + test::line_of("three"));
  DocumentTally tally(1.0);
  DocumentReader reader(path, tally);
  std::string texts;
  while (reader.next())
    if (reader.text()) texts += std::string(*reader.text()) + ",";
  CHECK(texts == "one,two,three,");

  const DocumentCounts counts = tally.counts();
  CHECK(counts.documents == 3);
  CHECK(counts.lines() == 6);  // blank lines are none
  CHECK(counts.broken == std::array<std::int64_t, kNumBroken>{2, 1});
  CHECK_THAT(counts.first_broken[0], Catch::StartsWith(path + ":4: "));
  CHECK_THAT(counts.broken_text(), Contains("2 not JSON (first " + path + ":4") && Contains("1 without `text`"));
}

TEST_CASE("the run stops when more than max_bad_share is broken, and not before", "[data][document]") {
  SECTION("a few in the first thousand lines are let pass") {
    DocumentTally tally(0.01);
    for (int i = 0; i < 10; ++i) tally.add_broken(Broken::kNotJson, "f:1", "why");
    CHECK_THAT(test::failure_of([&] { tally.add_broken(Broken::kNoText, "f:2", "why"); }),
               Contains("data: 11 of 11 lines are broken") && Contains("10 not JSON (first f:1: why)") &&
                   Contains("data.max_bad_share"));
  }
  SECTION("at the end the share counts as it is") {
    DocumentTally tally(0.01);
    tally.add_broken(Broken::kNotJson, "f:1", "why");
    for (int i = 0; i < 98; ++i) tally.add_document();
    CHECK_THAT(test::failure_of([&] { tally.judge(); }), Contains("1 of 99 lines"));
    tally.add_document();
    CHECK(test::failure_of([&] { tally.judge(); }).empty());
  }
  SECTION("0 allows none, 1 allows all") {
    DocumentTally none(0), all(1);
    CHECK_FALSE(test::failure_of([&] { none.add_broken(Broken::kNotJson, "f:1", "why"); }).empty());
    for (int i = 0; i < 5000; ++i) all.add_broken(Broken::kNotJson, "f:1", "why");
    all.judge();
  }
}

TEST_CASE("a document too large to hold counts as broken and is left out, those around it stay", "[data][document]") {
  const test::Scratch folder;
  const std::string path = folder / "a.jsonl.zst";
  test::write(path,
              test::zstd_frame(test::line_of("before") + test::line_of(std::string(LineReader::kMaxLineBytes, 'x')) +
                               test::line_of("after")));
  DocumentTally tally(1.0);
  std::string texts;
  for_each_document({{path, 1}}, tally, [&](const ShardDocument& document) {
    texts += fmt::format("{}:{},", document.line, document.text);
    return Onward::kNextDocument;
  });
  CHECK(texts == "1:before,3:after,");
  CHECK(tally.counts().num_broken() == 1);
  CHECK_THAT(tally.counts().broken_text(), Contains("1 too long (first " + path + ":2: more than 67108864 bytes)"));
}

TEST_CASE("the exact share is judged where all was read in order, not after a part", "[data][document]") {
  const test::Scratch folder;
  std::string text = "no json\n";
  for (int i = 0; i < 300; ++i) text += test::line_of("a");
  test::write(folder / "a.jsonl", text);
  test::write(folder / "b.jsonl", test::line_of("b"));
  const std::vector<Shard> shards{{folder / "a.jsonl", 1}, {folder / "b.jsonl", 1}};
  const auto read = [&](Onward after_ten) {
    DocumentTally tally(0.001);
    int documents = 0;
    for_each_document(shards, tally,
                      [&](const ShardDocument&) { return ++documents == 10 ? after_ten : Onward::kNextDocument; });
  };
  CHECK_THAT(test::failure_of([&] { read(Onward::kNextDocument); }),
             Contains("1 of 302 lines") && Contains("a.jsonl:1"));
  CHECK(test::failure_of([&] { read(Onward::kNextShard); }).empty());
  CHECK(test::failure_of([&] { read(Onward::kStop); }).empty());
}

TEST_CASE("threads count together", "[data][document]") {
  DocumentTally tally(0.5);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&tally] {
        for (int i = 0; i < 500; ++i) {
          tally.add_document();
          if (i % 5 == 0) tally.add_broken(Broken::kEmptyText, "f:1", "why");
        }
      });
  }
  CHECK(tally.counts().documents == 2000);
  CHECK(tally.counts().num_broken() == 400);
}

TEST_CASE("the held-out share of documents is about the fraction asked for", "[data][document]") {
  int below = 0;
  for (int i = 0; i < 20'000; ++i) below += holdout_draw(fmt::format("document {}", i)) < 0.05;
  CHECK(std::abs(below - 1000) < 150);  // five standard deviations
}

}  // namespace spikesink
