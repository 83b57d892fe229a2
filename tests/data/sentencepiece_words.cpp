#include "data/sentencepiece_words.h"

#include <sentencepiece_processor.h>

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>

#include "data/train_tokenizer.h"
#include "io/atomic_file.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using Type = SentencePieceModel::Type;

/// Words of a small made-up language with odd characters, tabs, digits and runs of spaces between them.
std::string text_of(std::uint64_t seed, std::uint64_t words) {
  static const std::vector<std::string> kParts = {
      "ba",  "ke",    "lo", "mi", "nu",           "sta",      "tre",          "a",
      "e",   " ",     " ",  " ",  "  ",           "   ",      "\n",           "\t",
      "12",  "7",     ".",  ", ", "\xE2\x96\x81", "\xC3\xA9", "\xE4\xBD\xA0", "\xF0\x9F\x98\x80",
      "<s>", "<0x41>"};
  const Random random{.seed = seed, .stream = name_hash("words")};
  std::string text;
  for (std::uint64_t i = 0; i < words; ++i)
    text += kParts[random.below(i, random.below(i + (1 << 30), 3) ? 11 : kParts.size())];
  return text;
}

/// The bytes of a small model of `spikesink tokenizer train`.
const std::string& trained() {
  static const std::string kModel = [] {
    const test::Scratch folder;
    std::string lines;
    for (std::uint64_t d = 0; d < 40; ++d) {
      std::string text = text_of(d, 300);
      for (char& c : text) c = c == '\n' || c == '\t' ? ' ' : c;
      lines += test::line_of(text);
    }
    test::write(folder / "text.jsonl", lines);
    TokenizerTraining training;
    training.inputs = {folder / "text.jsonl"};
    training.vocab = 500;
    training.out = folder / "t.model";
    train_tokenizer(training);
    return read_file(training.out);
  }();
  return kModel;
}

SentencePieceModel parsed() {
  auto model = parse_sentencepiece_model(trained());
  REQUIRE(model);
  return *model;
}

/// The file of a model with these pieces and Llama 2's settings.
std::string serialized(const SentencePieceModel& model) {
  const auto bytes = [](int field, const std::string& content) {
    std::string out(1, static_cast<char>(field << 3 | 2));
    std::size_t size = content.size();
    for (; size >= 0x80; size >>= 7) out += static_cast<char>(0x80 | (size & 0x7F));
    out += static_cast<char>(size);
    out += content;
    return out;
  };
  std::string out;
  for (const auto& [text, score, type] : model.pieces) {
    std::string piece = bytes(1, text);
    piece += static_cast<char>(2 << 3 | 5);
    for (int shift = 0; shift < 32; shift += 8)
      piece += static_cast<char>(std::bit_cast<std::uint32_t>(score) >> shift);
    piece += static_cast<char>(3 << 3);
    piece += static_cast<char>(type);
    out += bytes(1, piece);
  }
  out += bytes(2, std::string("\x18\x02\x98\x02\x01", 5));      // BPE; bytes for what is unknown
  out += bytes(3, std::string("\x18\x01\x20\x00\x28\x01", 6));  // a space before; all spaces kept; escaped
  return out;
}

/// How many of many texts have other ids by the library.
int num_different(const std::string& file) {
  sentencepiece::SentencePieceProcessor library;
  REQUIRE(library.LoadFromSerializedProto(file).ok());
  const auto words = SentencePieceWords::make(parse_sentencepiece_model(file).value());
  REQUIRE(words);
  int different = 0;
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    std::string text = text_of(1000 + seed, seed % 40);
    if (seed % 100 == 0) text += std::string(300, " a"[seed % 200 / 100]) + text_of(seed, 2000);
    std::vector<int> want;
    REQUIRE(library.Encode(text, &want).ok());
    std::vector<std::int32_t> ids;
    words->encode(text, ids);
    different += ids != want;
  }
  return different;
}

}  // namespace

TEST_CASE("word by word a sentencepiece model gives the library's ids", "[data][tokenizer]") {
  CHECK(num_different(trained()) == 0);
  CHECK(num_different(serialized(parsed())) == 0);
}

TEST_CASE("pieces of the same score are merged from the left, as the library does", "[data][tokenizer]") {
  SentencePieceModel model = parsed();
  for (auto& piece : model.pieces) piece.score = std::floor(piece.score / 20);
  CHECK(num_different(serialized(model)) == 0);
  // Llama 2 has its runs of spaces last, all with one score.
  model = parsed();
  for (auto& [text, score, type] : model.pieces)
    if (text.find_first_not_of("\xE2\x96\x81") == text.npos) score = -1e9F;
  CHECK(num_different(serialized(model)) == 0);
}

TEST_CASE("a piece that its characters do not merge to is not taken as a whole", "[data][tokenizer]") {
  SentencePieceModel model = parsed();
  model.pieces.push_back(
      {"\xE2\x96\x81"
       "bakelomi",
       -5000, Type::kNormal});
  model.pieces.push_back({"stanulo", 1, Type::kNormal});
  CHECK(num_different(serialized(model)) == 0);
}

TEST_CASE("models that words do not serve are left to the library", "[data][tokenizer]") {
  const auto served = [](auto change) {
    SentencePieceModel model = parsed();
    change(model);
    return SentencePieceWords::make(model) != nullptr;
  };
  using Model = SentencePieceModel;
  CHECK(served([](Model&) {}));
  CHECK_FALSE(served([](Model& m) { m.pair_encoding = false; }));
  CHECK_FALSE(served([](Model& m) { m.byte_fallback = false; }));
  CHECK_FALSE(served([](Model& m) { m.whitespace_as_suffix = true; }));
  CHECK_FALSE(served([](Model& m) { m.identity = false; }));
  CHECK_FALSE(served([](Model& m) { m.remove_extra_whitespaces = true; }));
  CHECK_FALSE(served([](Model& m) { m.escape_whitespaces = false; }));
  CHECK_FALSE(served([](Model& m) { m.pieces[400].type = Type::kUserDefined; }));
  CHECK_FALSE(served([](Model& m) { m.pieces[400].type = Type::kUnused; }));
  CHECK_FALSE(served([](Model& m) {
    m.pieces[400].text =
        "a\xE2\x96\x81"
        "b";
  }));  // across words
  CHECK_FALSE(served([](Model& m) { m.pieces[400].text = "\xFF"; }));
  CHECK_FALSE(served([](Model& m) { m.pieces[400].score = NAN; }));
  CHECK_FALSE(served([](Model& m) { m.pieces[1].text = "s"; }));  // a special token that text could hold
  CHECK_FALSE(served([](Model& m) { m.pieces[100].text = "<0x0g>"; }));
}

TEST_CASE("bytes that are no sentencepiece model are not taken for one", "[data][tokenizer]") {
  const std::string& file = trained();
  const SentencePieceModel model = parsed();
  CHECK(model.pieces.size() == 500);
  CHECK(model.pieces[1].text == "<s>");
  CHECK(model.pieces[1].type == Type::kControl);
  for (std::size_t size = 1; size < file.size(); size += 13) {
    const auto cut = parse_sentencepiece_model(std::string_view(file).substr(0, size));
    CHECK((!cut || cut->pieces.size() <= 500));
  }
  for (std::uint64_t seed = 0; seed < 500; ++seed) {  // must come back, with whatever
    std::string bad = file.substr(0, 4000);
    const Random random{.seed = seed};
    for (std::uint64_t i = 0; i < 5; ++i)
      bad[random.below(i, bad.size())] = static_cast<char>(random.below(i + 9, 256));
    if (const auto read = parse_sentencepiece_model(bad)) SentencePieceWords::make(*read);
  }
  CHECK_FALSE(parse_sentencepiece_model("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01z"));
}

}  // namespace spikesink
