#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace spikesink {

bool is_utf8(std::string_view text);

/// The text with U+FFFD in place of what is no UTF-8, one for each longest start of a character that goes wrong, as
/// Python's bytes.decode("utf-8", errors="replace") has it. Source: Unicode 16.0, section 3.9, table 3-7.
std::string repaired_utf8(std::string_view text);

/// The character that starts at `at`, and how many bytes it has. The text must be UTF-8.
struct Character {
  char32_t code_point;
  std::size_t size;
};
inline Character character_at(const char* text, std::size_t at) {
  const auto* b = reinterpret_cast<const unsigned char*>(text) + at;
  const auto rest = [&](int i) { return static_cast<char32_t>(b[i] & 0x3F); };
  if (b[0] < 0x80) return {b[0], 1};
  if (b[0] < 0xE0) return {static_cast<char32_t>(b[0] & 0x1F) << 6 | rest(1), 2};
  if (b[0] < 0xF0) return {static_cast<char32_t>(b[0] & 0x0F) << 12 | rest(1) << 6 | rest(2), 3};
  return {static_cast<char32_t>(b[0] & 0x07) << 18 | rest(1) << 12 | rest(2) << 6 | rest(3), 4};
}

}  // namespace spikesink
