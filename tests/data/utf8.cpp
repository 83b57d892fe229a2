#include "data/utf8.h"

#include <catch2/catch.hpp>
#include <vector>

namespace spikesink {

TEST_CASE("what is no UTF-8 becomes U+FFFD, once for each start of a character that goes wrong", "[data][utf8]") {
  const std::string r = "\xEF\xBF\xBD";
  // Right-hand sides are what Python's decode("utf-8", errors="replace") gives.
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {std::string("a\0b", 3), std::string("a\0b", 3)},
      {"\x80", r},
      {"a\xFF\xFE", "a" + r + r},
      {"\xC3", r},  // cut off
      {"\xC3(", r + "("},
      {"\xC0\xAF", r + r},          // overlong
      {"\xE0\x80\xAF", r + r + r},  // overlong
      {"\xE2\x82", r},              // cut off: one start
      {"\xE2\x82(", r + "("},
      {"\xED\xA0\x80", r + r + r},  // a surrogate
      {"\xF0\x9F\x98", r},
      {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
      {"\xF0\x8F\xBF\xBF", r + r + r + r},
      {"\xF4\x90\x80\x80", r + r + r + r},  // beyond U+10FFFF
      {"\xF5\x80", r + r},
      {"\xF0\x9F\xC3\xA9", r + "\xC3\xA9"}};
  for (const auto& [text, want] : cases) {
    CAPTURE(text);
    CHECK(repaired_utf8(text) == want);
    CHECK(is_utf8(text) == (text == want));
  }
}

TEST_CASE("a character is read from one to four bytes", "[data][utf8]") {
  const std::string text = "z\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80";
  std::vector<char32_t> found;
  for (std::size_t at = 0; at < text.size();) {
    const auto [code_point, size] = character_at(text.data(), at);
    found.push_back(code_point);
    at += size;
  }
  CHECK(found == std::vector<char32_t>{'z', 0xE9, 0x4F60, 0x1F600});
}

}  // namespace spikesink
