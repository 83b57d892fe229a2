#include "data/utf8.h"

#include <simdjson.h>

#include <algorithm>

namespace spikesink {
namespace {

/// Bytes at the start of `text` that begin a character, and whether they are all of it.
struct Start {
  std::size_t size;
  bool whole;
};
Start start_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const std::size_t want = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte is narrower where it would be an overlong form, a surrogate, or beyond U+10FFFF.
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  std::size_t size = 1;
  for (; size < std::min(want, text.size()) && byte(size) >= low && byte(size) <= high; ++size) {
    low = 0x80;
    high = 0xBF;
  }
  return {size, size == want};
}

}  // namespace

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

std::string repaired_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto [size, whole] = start_of(text);
    out += whole ? text.substr(0, size) : "\xEF\xBF\xBD";
    text.remove_prefix(size);
  }
  return out;
}

}  // namespace spikesink
