#pragma once
#include <cstdint>
#include <span>

namespace spikesink {

/// What the patterns of tiktoken ask of a character: \p{L}, \p{N}, \s; no character has two of them.
enum class CharClass : std::uint8_t { kOther, kLetter, kNumber, kSpace };

/// first to last, both of them in it.
struct CodePoints {
  char32_t first, last;
};
inline constexpr char32_t kLastCodePoint = 0x10FFFF;

/// The characters of a class in ascending order, by Unicode 16.0: a table of our own, so that ids depend on no
/// library's version. Source: UnicodeData.txt (General_Category L and N), PropList.txt (White_Space).
std::span<const CodePoints> code_points_of(CharClass c);

/// The class of each code point, indexed by it; kLastCodePoint + 1 of them.
const CharClass* char_classes();

}  // namespace spikesink
