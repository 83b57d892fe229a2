#include "data/splitter.h"

#include <catch2/catch.hpp>
#include <span>

#include "data/unicode_classes.h"
#include "data/utf8.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using Catch::Contains;

constexpr std::string_view kPatterns[] = {kGpt2Pattern, kGpt2PossessivePattern, kLlama3Pattern, kCl100kPattern};

/// Sources: openai/tiktoken, tiktoken_ext/openai_public.py; tokenizer.json of Qwen/Qwen2.5-7B and, the last of its
/// steps, deepseek-ai/DeepSeek-V3.
constexpr std::string_view kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepSeekPattern =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

void append(std::string& text, char32_t c) {
  const auto add = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) return add(c);
  if (c < 0x800)
    add(0xC0 | c >> 6);
  else if (c < 0x10000)
    add(0xE0 | c >> 12), add(0x80 | (c >> 6 & 0x3F));
  else
    add(0xF0 | c >> 18), add(0x80 | (c >> 12 & 0x3F)), add(0x80 | (c >> 6 & 0x3F));
  add(0x80 | (c & 0x3F));
}

std::vector<std::string> pieces(const Splitter& splitter, std::string_view text) {
  std::vector<std::uint32_t> lengths{99};
  splitter.split(text, lengths);
  std::vector<std::string> out;
  for (const std::uint32_t length : lengths) {
    out.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  CHECK(text.empty());
  return out;
}

std::vector<std::string> pieces(std::string_view pattern, std::string_view text) {
  return pieces(*make_splitter(std::string(pattern), "test"), text);
}

/// Strings of what patterns look at, drawn evenly.
std::string odd_text(std::uint64_t seed) {
  static const std::vector<std::string> kAtoms = {"'",
                                                  "'",
                                                  "s",
                                                  "S",
                                                  "t",
                                                  "re",
                                                  "VE",
                                                  "m",
                                                  "lL",
                                                  "d",
                                                  "l",
                                                  "\xC5\xBF",
                                                  "\xE2\x84\xAA",
                                                  "a",
                                                  "word",
                                                  "\xC3\xA9",
                                                  "e\xCC\x81",
                                                  "\xE4\xBD\xA0",
                                                  "\xF0\x9D\x94\x80",
                                                  " ",
                                                  " ",
                                                  "  ",
                                                  "\n",
                                                  "\r",
                                                  "\r\n",
                                                  "\t",
                                                  "\x0B",
                                                  "\x1C",
                                                  "\xC2\x85",
                                                  "\xC2\xA0",
                                                  "\xE1\xA0\x8E",
                                                  "\xE2\x80\x8B",
                                                  "\xE2\x80\xA8",
                                                  "\xE3\x80\x80",
                                                  "1",
                                                  "23",
                                                  "4567",
                                                  "\xC2\xB2",
                                                  "\xE2\x85\xA7",
                                                  "\xD9\xA3",
                                                  ".",
                                                  "!?",
                                                  "-",
                                                  "_",
                                                  "/",
                                                  std::string(1, '\0'),
                                                  "\x7F",
                                                  "\xF0\x9F\x98\x80",
                                                  "\xEF\xBF\xBF",
                                                  "\xF4\x8F\xBF\xBF"};
  const Random random{.seed = seed, .stream = name_hash("odd text")};
  std::string text;
  for (std::uint64_t i = 0, n = 1 + random.below(0, 30); i < n; ++i) text += kAtoms[random.below(1 + i, kAtoms.size())];
  return text;
}

}  // namespace

TEST_CASE("the scanners cut text as their patterns do by PCRE2", "[data][splitter]") {
  for (const std::string_view pattern : kPatterns) {
    CAPTURE(pattern);
    const auto scanner = detail::make_scanner(pattern);
    REQUIRE(scanner);
    const auto regex = detail::make_regex(std::string(pattern), "test");
    for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
      const std::string text = odd_text(seed);
      const auto got = pieces(*scanner, text), want = pieces(*regex, text);
      if (got != want) {
        CAPTURE(seed, text);
        CHECK(got == want);
        break;
      }
    }
  }
}

TEST_CASE("the scanners know every code point as PCRE2 does", "[data][splitter]") {
  std::vector<std::string> texts(1);
  for (char32_t c = 0; c <= kLastCodePoint;
       c += c >= 0x34000 && c < 0xE0000 ? 97 : 1) {  // nothing is there but samples
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string& text = texts.back();
    for (const char* before : {"a", " ", "1", ". "}) {
      text += before;
      append(text, c);
    }
    append(text, c);
    if (text.size() > 4096) texts.emplace_back();
  }
  for (const std::string_view pattern : {kGpt2Pattern, kLlama3Pattern}) {
    const auto scanner = detail::make_scanner(pattern), regex = detail::make_regex(std::string(pattern), "test");
    int different = 0;
    for (const std::string& text : texts) different += pieces(*scanner, text) != pieces(*regex, text);
    CHECK(different == 0);
  }
}

TEST_CASE("pieces are those that the patterns were made for", "[data][splitter]") {
  using Pieces = std::vector<std::string>;
  CHECK(pieces(kGpt2Pattern, "I'll go  to 1234 caf\xC3\xA9s!!\n\n x ") ==
        Pieces{"I", "'ll", " go", " ", " to", " 1234", " caf\xC3\xA9s", "!!", "\n\n", " x", " "});
  CHECK(pieces(kLlama3Pattern, "I'LL go  to 1234 caf\xC3\xA9s!!\n\n x ") ==
        Pieces{"I", "'LL", " go", " ", " to", " ", "123", "4", " caf\xC3\xA9s", "!!\n\n", " x", " "});
  CHECK(pieces(kLlama3Pattern, "a \n ") == Pieces{"a", " \n", " "});
  CHECK(pieces(kCl100kPattern, "a \n ") == Pieces{"a", " \n "});  // what tells cl100k from Llama 3
  CHECK(pieces(kCl100kPattern, "a \n b") == Pieces{"a", " \n", " b"});
  for (const std::string_view pattern : kPatterns) CHECK(pieces(pattern, "").empty());
}

TEST_CASE("PCRE2 sees Rust's white space and the letters and numbers of Unicode 16", "[data][splitter]") {
  using Pieces = std::vector<std::string>;
  const std::string separator = "\xE1\xA0\x8E";  // U+180E, white space to PCRE2 but not to Unicode since 6.3
  CHECK(pieces(R"(\s|\S+)", "a" + separator + "b c") == Pieces{"a" + separator + "b", " ", "c"});
  CHECK(pieces(R"([^\s]+|[\s])", "a" + separator + "b c") == Pieces{"a" + separator + "b", " ", "c"});
  CHECK(pieces(R"([\S]+|.)", "ab c") == Pieces{"ab", " ", "c"});
  const std::string garay = "\xF0\x90\xB5\x90\xF0\x90\xB5\x91",
                    digit = "\xF0\x90\xB5\x80";  // U+10D50 .., new in Unicode 16
  CHECK(pieces(R"(\p{L}+|\pN+|\PL)", garay + digit) == Pieces{garay, digit});
  CHECK(pieces(R"(\P{N}+|\PL)", garay + digit) == Pieces{garay, digit});
  CHECK(pieces(R"(\p{Lu}|.)", "aB") == Pieces{"a", "B"});
  CHECK(pieces(R"([]a]+|\[|[^]b]|.)", "]a[b") == Pieces{"]a", "[", "b"});
}

TEST_CASE("categories are Unicode 16's, whose characters no pattern may then leave out", "[data][splitter]") {
  using Pieces = std::vector<std::string>;
  std::string upper, lower, other, mark, digit;  // all younger than Unicode 14
  append(upper, 0x1C89), append(lower, 0x1C8A), append(other, 0x31350), append(mark, 0x0897), append(digit, 0x11F50);
  CHECK(pieces(R"(\p{Lu}+|\p{Ll}+|\p{Lo}+|\p{M}+|\d+)", "A" + upper + "a" + lower + other + mark + digit + "1") ==
        Pieces{"A" + upper, "a" + lower, other, mark, digit + "1"});
  CHECK(pieces(R"(\P{Lu}+|\D)", "a" + lower + upper) == Pieces{"a" + lower, upper});
  CHECK(pieces(R"([^\p{M}\p{Lo}\d]+|[\d\p{Lo}\pM]+)", "a" + other + mark + digit + "b") ==
        Pieces{"a", other + mark + digit, "b"});
  for (const std::string& c : {upper, lower, other, mark, digit}) CHECK(pieces(kO200kPattern, c) == Pieces{c});
}

TEST_CASE("the patterns of published tokenizers are let through", "[data][splitter]") {
  using Pieces = std::vector<std::string>;
  CHECK(pieces(kO200kPattern, "I'LL go CamelCase caf\xC3\xA9s 12345/\n x ") ==
        Pieces{"I'LL", " go", " Camel", "Case", " caf\xC3\xA9s", " ", "123", "45", "/\n", " x", " "});
  CHECK(pieces(kQwenPattern, "I'll go 123") == Pieces{"I", "'ll", " go", " ", "1", "2", "3"});
  CHECK(pieces(kDeepSeekPattern, "x-y \xE4\xBD\xA0") == Pieces{"x", "-y", " \xE4\xBD\xA0"});
}

TEST_CASE("what PCRE2 writes in another way is put into its words", "[data][splitter]") {
  using Pieces = std::vector<std::string>;
  CHECK(pieces(R"(\v+|\x41+|\u0042+|\U00000043+|\x{44}+|(?s:.))", "AABCD\x0B\n") ==
        Pieces{"AA", "B", "C", "D", "\x0B", "\n"});
  CHECK(pieces(R"([\v\x41-\x43]+|.|\n)",
               "\x0B"
               "AC\nD") == Pieces{"\x0B"
                                  "AC",
                                  "\n", "D"});
  CHECK(pieces(R"([-a]+|[b\-]+|[^-c]|[c-])", "-ab-dc") == Pieces{"-a", "b-", "d", "c"});
  CHECK(pieces(R"((?i:k)+|(?:(?i)s)+|a{2}|a{1,}?|(?>b+)|(?<=b)c\z|[acd])",
               "kK\xE2\x84\xAAs\xC5\xBF"
               "aaabbc") == Pieces{"kK\xE2\x84\xAA", "s\xC5\xBF", "aa", "a", "bb", "c"});
}

TEST_CASE("what is not known to be the same to tiktoken and PCRE2 is refused, with place and mend",
          "[data][splitter]") {
  const auto message = [](const std::string& pattern) {
    return test::failure_of([&] { make_splitter(pattern, "x.json"); });
  };
  CHECK_THAT(message(R"(a|\w+)"), Catch::Equals(R"(x.json: the pattern has \w at byte 2, which need not be the same )"
                                                R"(to tiktoken and PCRE2; write out what it shall have, as in )"
                                                R"([\p{L}\p{M}\p{N}_])"));
  for (const char* same_to_none : {R"(\W)",
                                   R"([\w])",
                                   R"(\bx)",
                                   R"([\b])",
                                   R"(x\B)",
                                   R"(\h)",
                                   R"(\H)",
                                   R"(\Qa\E)",
                                   R"(\p{^L})",
                                   R"(\p{Han})",
                                   R"(\p{Letter})",
                                   R"(\p{l})",
                                   R"(\pC)",
                                   R"(\R)",
                                   R"(\N)",
                                   R"(\X)",
                                   R"(a\K)",
                                   R"(\Ga)",
                                   R"(a\Z)",
                                   R"(\<)",
                                   R"(\>)",
                                   R"(\0)",
                                   R"((a)\1)",
                                   R"(\x4)",
                                   R"(\x{})",
                                   R"(\u12)",
                                   R"(\)",
                                   "\\\xC3\xA9",
                                   R"(\p{L)",
                                   R"([\P{M}])",
                                   R"([\D])",
                                   "a{,3}",
                                   "a{",
                                   "a{x}",
                                   "a{1,2,3}",
                                   "a**",
                                   "a{2}{3}",
                                   "+",
                                   "(?=a)+b",
                                   "^*a",
                                   "(*UTF)a",
                                   "(?m)a",
                                   "(?x) a",
                                   "(?U)a",
                                   "(?-u:a)",
                                   "(?)a",
                                   "(?i-:a)",
                                   "(?<n>a)",
                                   "(?P<n>a)",
                                   "(?#c)a",
                                   "(?|a)",
                                   "(?(1)a)",
                                   "(?R)",
                                   "[[:alpha:]]",
                                   "[a[bc]]",
                                   "[a&&b]",
                                   "[a--b]",
                                   "[a~~b]",
                                   R"([\s-a])",
                                   R"([a-\s])",
                                   "[a-c-e]",
                                   R"((?i:\p{L}))",
                                   "(?i:\xC3\xA9)",
                                   R"((?i)[\x{e9}])"}) {
    CAPTURE(same_to_none);
    CHECK_THAT(message(same_to_none),
               Catch::StartsWith("x.json: the pattern has ") && Contains(" at byte ") && Contains("; write ") ||
                   Contains("; let it ") || Contains("; groups are "));
  }
  // A flag ends with its group.
  CHECK(message(R"((?:(?i)a)\p{L}|(?i:a)\p{L}|(?i-i)\p{L}|((?i)a|b)\p{L})").empty());
}

TEST_CASE("a pattern that cannot serve says so", "[data][splitter]") {
  const auto message = [](const std::string& pattern) {
    return test::failure_of([&] { make_splitter(pattern, "x.json"); });
  };
  CHECK_THAT(message("a("), Contains("x.json: the pattern does not compile: missing closing parenthesis"));
  CHECK_THAT(message("a)"), Contains("does not compile"));
  CHECK_THAT(message("[a"), Contains("does not compile"));
  CHECK_THAT(message("a*"), Contains("matches the empty text"));
  CHECK_THAT(message("a\xFF"), Contains("is no UTF-8"));
  const auto words = make_splitter(R"(\p{L}+| )", "x.json");
  std::vector<std::uint32_t> lengths;
  CHECK_THAT(test::failure_of([&] { words->split("a b!", lengths); }), Contains("leaves out U+0021, at byte 3"));
}

TEST_CASE("a pattern that tries all ways to cut a text up is given up", "[data][splitter]") {
  const auto hostile = make_splitter("(?:a|aa|a+)+b|(?:.+)+c|(?s:.)", "x.json");  // 2^n ways: the test would not end
  std::vector<std::uint32_t> lengths;
  CHECK_THAT(
      test::failure_of([&] { hostile->split("xy" + std::string(200, 'a'), lengths); }),
      Contains("x.json: PCRE2 gave up the pattern at byte 0 of a text of 202 bytes: match limit exceeded; write "));
  hostile->split("xyaabc", lengths);
  CHECK(lengths.size() == 1);
}

TEST_CASE("a megabyte without a boundary is cut in time that grows with it only", "[data][splitter]") {
  for (const std::string_view pattern : kPatterns) {
    const auto scanner = detail::make_scanner(pattern), regex = detail::make_regex(std::string(pattern), "test");
    for (const char c : {'a', ' ', '\n', '1', '.', '\''}) {
      CAPTURE(pattern, c);
      const std::string text = std::string(1 << 20, c) + "x";
      const auto cut = pieces(*scanner, text);
      CHECK(cut == pieces(*regex, text));
      CHECK((c == '1' || cut.size() <= 3));
    }
  }
}

}  // namespace spikesink
