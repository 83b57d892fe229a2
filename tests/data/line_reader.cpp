#include "data/line_reader.h"

#include <zstd.h>

#include <catch2/catch.hpp>
#include <new>

#include "tests/data/support.h"

namespace spikesink {
namespace {
using Catch::Contains;

/// Lines of many lengths, some empty, some longer than every buffer; the last without a newline.
std::vector<std::string> hostile_lines() {
  const Random random{.seed = 5};
  std::vector<std::string> lines;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const std::uint64_t length = i % 50 == 7 ? 300'000 : i % 9 == 0 ? 0 : random.below(i, 2000);
    std::string line;
    for (std::uint64_t j = 0; j < length; ++j) line += static_cast<char>(' ' + random.below(i * 1'000'000 + j, 90));
    lines.push_back(line);
  }
  lines.push_back("the last");
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (&line == &lines.front() ? "" : "\n") + line;
  return text;
}

std::string read_all(const std::string& path) {
  LineReader reader(path);
  std::string text;
  while (const auto line = reader.next()) text += std::string(*line) + "\n";
  return text;
}

}  // namespace

TEST_CASE("lines come back as written, plain or packed in several frames, read or passed over", "[data][lines]") {
  const test::Scratch folder;
  const auto lines = hostile_lines();
  const std::string path = folder / GENERATE("a.jsonl", "a.jsonl.zst", "a.jsonl.gz");
  const int parts = GENERATE(1, 4);
  CAPTURE(path, parts);
  test::write_packed(path, joined(lines), parts);

  LineReader all(path);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto line = all.next();
    REQUIRE(line);
    REQUIRE(*line == lines[i]);
    REQUIRE(all.line() == static_cast<std::int64_t>(i) + 1);
  }
  CHECK_FALSE(all.next());
  CHECK_FALSE(all.next());

  const Random random{.seed = 11};
  LineReader some(path);
  std::size_t at = 0;
  for (std::uint64_t draw = 0; at < lines.size(); ++draw) {
    const auto skip = static_cast<std::int64_t>(random.below(draw, 20));
    const auto left = static_cast<std::int64_t>(lines.size() - at);
    REQUIRE(some.skip_lines(skip) == std::min(skip, left));
    at += static_cast<std::size_t>(std::min(skip, left));
    if (at == lines.size()) break;
    REQUIRE(some.next() == std::string_view(lines[at++]));
  }
  CHECK(some.line() == static_cast<std::int64_t>(lines.size()));
  CHECK(some.skip_lines(5) == 0);
}

#ifndef __SANITIZE_ADDRESS__  // whose own memory has no room under the limit
TEST_CASE("a frame that there is no memory for is no damaged shard", "[data][lines]") {
  const test::Scratch folder;
  std::string frame(1 << 16, '\0');
  const std::string text = test::line_of("text");
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
  ZSTD_outBuffer out{frame.data(), frame.size(), 0};
  ZSTD_inBuffer in{text.data(), text.size(), 0};
  ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush);  // of which the end is not known: the window stays
  ZSTD_compressStream2(context, &out, &in, ZSTD_e_end);
  ZSTD_freeCCtx(context);
  const std::string path = folder / "large_window.jsonl.zst";
  test::write(path, frame.substr(0, out.pos));

  CHECK(read_all(path) == text);
  bool lacks_memory = false;
  try {
    const test::MemoryLimit limit(32 << 20);
    read_all(path);
  } catch (const std::bad_alloc&) {
    lacks_memory = true;
  }
  CHECK(lacks_memory);
}
#endif

TEST_CASE("a stream cut at any byte is an error naming the file, never a short read", "[data][lines]") {
  const test::Scratch folder;
  const std::string ending = GENERATE(".zst", ".gz");
  std::string text;
  for (int i = 0; i < 60; ++i) text += fmt::format("line {} of some text\n", i * i);
  const std::string frame = ending == ".zst" ? test::zstd_frame(text) : test::gzip_member(text);
  for (std::size_t size = 1; size < frame.size(); ++size) {
    const std::string path = folder / ("cut.jsonl" + ending);
    CAPTURE(ending, size);
    test::write(path, frame.substr(0, size));
    CHECK_THAT(test::failure_of([&] { read_all(path); }), Contains(path) && Contains("in the middle of"));
    test::write(path, frame + frame.substr(0, size));  // the second frame is the one that is cut
    CHECK_THAT(test::failure_of([&] { read_all(path); }), Contains(path) && Contains("in the middle of"));
  }
  test::write(folder / ("whole.jsonl" + ending), frame + frame);
  CHECK(read_all(folder / ("whole.jsonl" + ending)) == text + text);
}

TEST_CASE("a small output space loses nothing that the unpacker holds back", "[data][lines]") {
  const test::Scratch folder;
  const std::string path = folder / GENERATE("a.zst", "a.gz");
  const std::string text(100'000, 'x');  // packs into few bytes: all input is read before the first output is full
  test::write_packed(path, text, 2);
  const auto source = open_bytes(path);
  std::string out;
  char some[7];
  while (const std::size_t got = source->read(some, sizeof some)) out.append(some, got);
  CHECK(out == text);
}

TEST_CASE("damaged, empty and missing shards say where, why and what to do", "[data][lines]") {
  const test::Scratch folder;
  test::write(folder / "text.zst", "this is no frame\n");
  CHECK_THAT(test::failure_of([&] { read_all(folder / "text.zst"); }), Contains("text.zst: broken near byte"));
  test::write(folder / "text.gz", "this is no member\n");
  CHECK_THAT(test::failure_of([&] { read_all(folder / "text.gz"); }), Contains("text.gz: broken near byte"));

  std::string frame = test::zstd_frame(std::string(300, 'a') + "\n") + "trailing bytes";
  test::write(folder / "trailing.zst", frame);
  CHECK_THAT(test::failure_of([&] { read_all(folder / "trailing.zst"); }), Contains("not a sound zstd frame"));
  std::string member = test::gzip_member("some text\nand more\n");
  member[member.size() - 6] ^= 1;  // the checksum
  test::write(folder / "sum.gz", member);
  CHECK_THAT(test::failure_of([&] { read_all(folder / "sum.gz"); }), Contains("incorrect data check"));

  test::write(folder / "empty.jsonl", "");
  CHECK_THAT(test::failure_of([&] { read_all(folder / "empty.jsonl"); }), Contains("holds no line"));
  test::write(folder / "empty.jsonl.zst", test::zstd_frame(""));
  CHECK_THAT(test::failure_of([&] { LineReader(folder / "empty.jsonl.zst").skip_lines(1); }),
             Contains("holds no line"));
  CHECK_THAT(test::failure_of([&] { LineReader(folder / "none.jsonl"); }), Contains("none.jsonl"));
}

TEST_CASE("a line above the limit is told and passed over, and those around it come whole", "[data][lines]") {
  const test::Scratch folder;
  const std::size_t size = GENERATE(5000, 65'536, 1'000'000);  // within the buffer, at its end, and beyond
  const std::string path = folder / GENERATE("a.jsonl", "a.jsonl.zst");
  const bool last = GENERATE(false, true);
  CAPTURE(size, path, last);
  test::write_packed(path, "short\n" + std::string(size, 'x') + (last ? "" : "\nafter\n"));
  LineReader reader(path, size - 1);
  CHECK(reader.next() == std::string_view("short"));
  CHECK_FALSE(reader.too_long());
  CHECK(reader.next() == std::string_view(""));
  CHECK(reader.too_long());
  CHECK(reader.line() == 2);
  CHECK(reader.next() == (last ? std::nullopt : std::optional<std::string_view>("after")));
  CHECK_FALSE(reader.too_long());
  CHECK(reader.line() == (last ? 2 : 3));

  LineReader enough(path, size);
  enough.next();
  CHECK(enough.next()->size() == size);
  CHECK_FALSE(enough.too_long());
}

TEST_CASE("lines are whole also where a large one made the buffer grow and shrink again", "[data][lines]") {
  const test::Scratch folder;
  std::vector<std::string> lines;
  for (int i = 0; i < 30; ++i)
    lines.push_back(std::string(i % 10 == 3 ? 6'000'000 : 70'000, static_cast<char>('a' + i)));
  test::write(folder / "a.jsonl", joined(lines));
  LineReader reader(folder / "a.jsonl");
  for (const std::string& line : lines) REQUIRE((reader.next() == std::string_view(line)));
  CHECK_FALSE(reader.next());
}

}  // namespace spikesink
