#include "data/tiktoken.h"

#include <catch2/catch.hpp>
#include <map>

#include "data/byte_pairs.h"
#include "data/splitter.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using Catch::Contains;

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t bits = 0;
    for (std::size_t i = at; i < at + 3; ++i)
      bits = bits << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i) out += i <= bytes.size() - at ? kDigits[bits >> (18 - 6 * i) & 0x3F] : '=';
  }
  return out;
}

/// All bytes in an odd order, then some tokens that are made of two others each, and one that is not.
std::vector<RankTable::Token> small_ranks() {
  std::vector<RankTable::Token> tokens;
  for (int i = 0; i < 256; ++i) tokens.push_back({std::string(1, static_cast<char>(i * 7 & 0xFF)), i});
  int rank = 256;
  for (const char* text : {"ab", "bc", "abc", "aa", "aaa", "aaaa", "aaaaaaaa", "ca", "cab", " a", " ab", "\xC3\xA9",
                           "abca", "the quick brown fox", "12", "23", "\n\n"})
    tokens.push_back({text, rank++});
  return tokens;
}

std::string ranks_text(const std::vector<RankTable::Token>& tokens) {
  std::string text;
  for (const auto& [bytes, rank] : tokens) text += fmt::format("{} {}\n", base64(bytes), rank);
  return text;
}

constexpr const char* kSidecar =
    R"({"pattern": " ?\\p{L}+|.|\\s", "special_tokens": {"<end>": 300, "<begin>": 310}, "end_of_text": "<end>"})";

/// Merges by the definition: over all pairs again for each merge.
std::vector<std::int32_t> merged(const std::vector<RankTable::Token>& tokens, const std::string& piece) {
  std::map<std::string, std::int32_t> ranks;
  for (const auto& [bytes, rank] : tokens) ranks[bytes] = rank;
  std::vector<std::int32_t> ids;
  if (ranks.contains(piece)) return {ranks[piece]};
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  while (true) {
    std::size_t best = 0;
    std::int32_t lowest = INT32_MAX;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i)
      if (const auto found = ranks.find(parts[i] + parts[i + 1]); found != ranks.end() && found->second < lowest) {
        lowest = found->second;
        best = i;
      }
    if (lowest == INT32_MAX) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  for (const std::string& part : parts) ids.push_back(ranks[part]);
  return ids;
}

std::vector<std::int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}

}  // namespace

TEST_CASE("pieces of any length merge as the definition says", "[data][tiktoken]") {
  const auto tokens = small_ranks();
  const RankTable ranks(tokens);
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const Random random{.seed = seed};
    std::string piece;
    for (std::uint64_t i = 0, n = 1 + random.below(0, seed % 5 == 0 ? 300 : 20); i < n; ++i)
      piece += "aaabbcc x\xC3\xA9"[random.below(1 + i, 11)];
    std::vector<std::int32_t> ids;
    encode_piece(ranks, piece, ids);
    if (ids != merged(tokens, piece)) {
      CAPTURE(seed, piece);
      CHECK(ids == merged(tokens, piece));
      break;
    }
  }
  std::vector<std::int32_t> ids{5};
  encode_piece(ranks, "the quick brown fox", ids);  // a token that no merge makes
  CHECK(ids == std::vector<std::int32_t>{5, 269});
}

TEST_CASE("a megabyte in one piece takes no square of its length", "[data][tiktoken]") {
  const RankTable ranks(small_ranks());  // each merge over all pairs would take 10^12 steps: the test would not end
  for (const char* part : {"a", "ab", "x", "abcabcca"}) {
    std::string piece;
    while (piece.size() < 1 << 20) piece += part;
    std::vector<std::int32_t> ids;
    encode_piece(ranks, piece, ids);
    std::string back;
    for (const std::int32_t id : ids) back += ranks.bytes_of(id);
    CHECK(back == piece);
    CHECK(ids.size() == (*part == 'x' ? piece.size() : std::string_view(part) == "a" ? piece.size() / 8 : ids.size()));
  }
}

TEST_CASE("a ranks file and its sidecar make a tokenizer", "[data][tiktoken]") {
  const test::Scratch folder;
  const std::string path = folder / "t.tiktoken";
  test::write(path, ranks_text(small_ranks()));
  test::write(path + ".json", kSidecar);
  const auto tokenizer = make_tokenizer(path);
  CHECK(tokenizer->vocab_size() == 311);
  CHECK(tokenizer->end_of_text() == 300);
  CHECK_FALSE(tokenizer->begin_of_text());
  CHECK_THAT(tokenizer->name(), Catch::StartsWith("t.tiktoken "));
  CHECK(ids_of(*tokenizer, "abc ab").size() == 2);
  CHECK(ids_of(*tokenizer, "<end>").size() == 5);  // no text makes a special token
  CHECK(ids_of(*tokenizer, "").empty());
  CHECK(tokenizer->decode(std::vector<std::int32_t>{310, 258, 300, 290, 266, 9999}) == "abc ab");  // 290: no token's
  for (const std::string& text :
       {std::string("caf\xC3\xA9 \xF0\x9F\x98\x80"), std::string("a\0b", 3), std::string("\n\n \t")})
    CHECK(tokenizer->decode(ids_of(*tokenizer, text)) == text);
  // As Python's errors="replace": three starts of characters that go wrong.
  CHECK(ids_of(*tokenizer, "a\xFF\xE2\x82z\xC3") == ids_of(*tokenizer, "a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD"));

  // Another pattern gives other ids, so the name must be another.
  std::string other = kSidecar;
  test::write(path + ".json", other.replace(other.find(" ?"), 2, ""));
  CHECK(make_tokenizer(path)->name() != tokenizer->name());
  test::write(path + ".json", R"({"encoding": "llama3"})");
  const auto llama = make_tokenizer(path);
  CHECK(llama->name() != tokenizer->name());
  CHECK(llama->vocab_size() == 128256);
  CHECK(llama->end_of_text() == 128001);
  CHECK(llama->begin_of_text() == 128000);
}

TEST_CASE("a special token that has a rank is not made from text either", "[data][tiktoken]") {
  const test::Scratch folder;
  const std::string path = folder / "t.tiktoken";
  auto tokens = small_ranks();
  tokens.push_back({"abab", 300});
  test::write(path, ranks_text(tokens));
  test::write(path + ".json", kSidecar);
  const auto tokenizer = make_tokenizer(path);
  CHECK(ids_of(*tokenizer, "abab") == std::vector<std::int32_t>{256, 256});
  CHECK(tokenizer->decode(std::vector<std::int32_t>{256, 300}) == "ab");
}

TEST_CASE("a FILE.model of ranks is told from one of sentencepiece", "[data][tiktoken]") {
  const test::Scratch folder;
  const std::string path = folder / "tokenizer.model";
  test::write(path, ranks_text(small_ranks()));
  CHECK_THAT(test::failure_of([&] { make_tokenizer(path); }),
             Contains("known by its content") && Contains("tokenizer.model.json"));
  test::write(path + ".json", R"({"encoding": "llama3"})");
  CHECK(ids_of(*make_tokenizer(path), "abc") == std::vector<std::int32_t>{258});
  CHECK(looks_like_ranks("IQ== 0\n"));
  CHECK(looks_like_ranks("IQ== 12 \r\nany"));
  for (const char* text : {"", "\n\x0E\n\x05<unk>", "IQ==", "IQ== x", "I 0", "IQ== 0 1"})
    CHECK_FALSE(looks_like_ranks(text));
}

TEST_CASE("blanks and line ends of other systems do no harm to ranks", "[data][tiktoken]") {
  std::string text = ranks_text(small_ranks());
  for (std::size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 3) text.replace(at, 1, " \r\n");
  const auto tokens = parse_ranks("\r\n" + text + "\n", "x");
  REQUIRE(tokens.size() == small_ranks().size());
  CHECK(tokens.back().bytes == small_ranks().back().bytes);
  CHECK(tokens.back().rank == small_ranks().back().rank);
}

TEST_CASE("a damaged ranks file says where and what", "[data][tiktoken]") {
  const std::string good = ranks_text(small_ranks());
  const auto message = [&](const std::string& text) {
    return test::failure_of([&] { parse_ranks(text, "r.tiktoken"); });
  };
  CHECK(message(good).empty());
  const auto with = [&](const std::string& line) { return message(good + line + "\n"); };
  CHECK_THAT(with("Zm9v"), Contains("r.tiktoken:274: 'Zm9v' is no line of a ranks file"));
  CHECK_THAT(with("Zm9v 500 7"), Contains("r.tiktoken:274: ") && Contains("no line"));
  CHECK_THAT(with("Zm9 500"), Contains("r.tiktoken:274: 'Zm9' is no base64"));
  CHECK_THAT(with("Zm*v 500"), Contains("is no base64"));
  CHECK_THAT(with("Zm=v 500"), Contains("is no base64"));
  CHECK_THAT(with("Zm9= 500"), Contains("is no base64"));  // the bits after its last byte are not 0
  CHECK_THAT(with("==== 500"), Contains("is no base64"));
  CHECK_THAT(with("Zm9v -1"), Contains("r.tiktoken:274: rank '-1' is no whole number from 0 to 16777215"));
  CHECK_THAT(with("Zm9v 1e3"), Contains("rank '1e3'"));
  CHECK_THAT(with("Zm9v 99999999999999999999"), Contains("rank '99999999999999999999'"));
  CHECK_THAT(with("Zm9v 16777216"), Contains("rank '16777216'"));
  CHECK_THAT(with("YWI= 500"), Contains("r.tiktoken:274: token 'YWI=' has a rank already, in line 257"));
  CHECK_THAT(with("Zm9v 256"), Contains("r.tiktoken:274: rank 256 is taken already, in line 257"));
  CHECK_THAT(with("\x01\xFF" + std::string(1000, 'x')), Contains("'??xxx") && Contains("xxx...' is no line"));
  CHECK_THAT(message(good.substr(5)), Contains("r.tiktoken:1: "));  // half a first line
  CHECK_THAT(message(""), Contains("no token of the single byte 0x00"));
  std::string lacking = good;
  CHECK_THAT(message(lacking.erase(lacking.find("YQ=="), std::string("YQ== 55\n").size())),
             Contains("single byte 0x61"));
  // Any line cut anywhere: a message or the same tokens, never a crash.
  for (std::size_t size = 0; size < good.size(); size += 7) message(good.substr(0, size));
}

TEST_CASE("a sidecar that is not right says why", "[data][tiktoken]") {
  const test::Scratch folder;
  const std::string path = folder / "t.tiktoken";
  test::write(path, ranks_text(small_ranks()));
  CHECK_THAT(test::failure_of([&] { make_tokenizer(path); }),
             Contains("t.tiktoken.json") && Contains("gpt_neox, r50k_base, p50k_base, cl100k_base, llama3"));
  const auto message = [&](const std::string& sidecar) {
    test::write(path + ".json", sidecar);
    return test::failure_of([&] { make_tokenizer(path); });
  };
  CHECK(message(kSidecar).empty());
  for (const char* broken : {"", "{", "nonsense", "{\"pattern\": \"a\xFF\"}", "{} {}"})
    CHECK_THAT(message(broken), Contains("t.tiktoken.json: is no JSON"));
  CHECK_THAT(message("[1]"), Contains("holds no JSON object"));
  CHECK_THAT(message("{}"), Contains("t.tiktoken.json: pattern: missing"));
  CHECK_THAT(message(R"({"encoding": "gpt5"})"), Contains("encoding: 'gpt5' is none of gpt_neox"));
  CHECK_THAT(message(R"({"encoding": 5})"), Contains("encoding: missing, or no text"));
  CHECK_THAT(message(R"({"encoding": "llama3", "pattern": "a"})"), Contains("pattern: unknown key"));
  CHECK_THAT(message(R"({"pattern": "a", "special": {}})"), Contains("special: unknown key"));
  CHECK_THAT(message(R"({"pattern": "a", "special_tokens": [1]})"), Contains("special_tokens: missing"));
  const auto special = [&](const std::string& tokens, const std::string& end) {
    return message(
        fmt::format(R"x({{"pattern": "(?s:.)", "special_tokens": {{{}}}, "end_of_text": {}}})x", tokens, end));
  };
  CHECK(special(R"("e": 300)", R"("e")").empty());
  CHECK_THAT(special(R"("e": -1)", R"("e")"), Contains("'e' has no whole number"));
  CHECK_THAT(special(R"("e": 1.5)", R"("e")"), Contains("'e' has no whole number"));
  CHECK_THAT(special(R"("e": 18446744073709551615)", R"("e")"), Contains("'e' has no whole number"));
  CHECK_THAT(special(R"("e": 300, "f": 300)", R"("e")"), Contains("two have the id 300"));
  CHECK_THAT(special(R"("e": 300)", R"("f")"), Contains("end_of_text: 'f' is none of special_tokens"));
  CHECK_THAT(special("", R"("e")"), Contains("end_of_text: 'e' is none"));
  CHECK_THAT(special(R"("e": 300)", "300"), Contains("end_of_text: missing, or no text"));
  CHECK_THAT(message(R"({"pattern": "a(", "special_tokens": {"e": 300}, "end_of_text": "e"})"),
             Contains("does not compile"));
}

TEST_CASE("a special token must not take a byte's place", "[data][tiktoken]") {
  const test::Scratch folder;
  const std::string path = folder / "t.tiktoken";
  test::write(path, ranks_text(small_ranks()));
  test::write(path + ".json", R"x({"pattern": "(?s:.)", "special_tokens": {"e": 5}, "end_of_text": "e"})x");
  CHECK_THAT(test::failure_of([&] { make_tokenizer(path); }), Contains("id 5 is the token of a single byte"));
}

TEST_CASE("a file that is far too large is no tokenizer", "[data][tiktoken]") {
  const test::Scratch folder;
  test::write(folder / "huge.tiktoken", "IQ== 0\n");
  std::filesystem::resize_file(folder / "huge.tiktoken", 300'000'000);  // sparse
  CHECK_THAT(test::failure_of([&] { make_tokenizer(folder / "huge.tiktoken"); }), Contains("has 300 MB, more than"));
  CHECK_THAT(test::failure_of([&] { make_tokenizer(folder / "none.tiktoken"); }), Contains("no file"));
}

}  // namespace spikesink
