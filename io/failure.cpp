#include "io/failure.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace spikesink {
namespace {

/// Bytes of the UTF-8 character that `text` begins with; 0: it is none.
std::size_t character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const std::size_t size = byte(0) < 0x80 ? 1 : byte(0) < 0xC2 ? 0 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
  for (std::size_t i = 1; i < size; ++i)
    if (byte(i) >> 6 != 2) return 0;
  const bool overlong = (byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xF0 && byte(1) < 0x90);
  const bool surrogate = byte(0) == 0xED && byte(1) >= 0xA0,
             beyond = byte(0) > 0xF4 || (byte(0) == 0xF4 && byte(1) >= 0x90);
  return overlong || surrogate || beyond ? 0 : size;
}

/// Does it break the line, or tell a terminal what to do? C0, DEL, C1, and Unicode's separators of lines and
/// paragraphs.
bool is_control(std::string_view c) {
  const auto first = static_cast<unsigned char>(c[0]);
  if (c.size() == 1) return first < ' ' || first == 127;
  return (first == 0xC2 && static_cast<unsigned char>(c[1]) < 0xA0) || c == "\xE2\x80\xA8" || c == "\xE2\x80\xA9";
}

}  // namespace

std::string one_line(const std::string& text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t size = character(rest);
    const std::string_view c = rest.substr(0, size > 0 ? size : 1);
    rest.remove_prefix(c.size());
    if (size > 0 && !is_control(c)) {
      out += c;
    } else if (c == "\n" || c == "\t") {
      out += c == "\n" ? "\\n" : "\\t";
    } else {
      for (const unsigned char byte : c) out += {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
    }
  }
  return out;
}

}  // namespace spikesink
