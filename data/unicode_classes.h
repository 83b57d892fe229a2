#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

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

/// The characters that versions 15 and 16 of Unicode have brought to a General_Category since 14, which PCRE2 10.40 to
/// 10.42 know. Nothing for names that are none of later_categories().
std::optional<std::span<const CodePoints>> later_code_points_of(std::string_view category);
/// The names of parts of L and N, of M, and of P and S and their parts.
std::span<const std::string_view> later_categories();

/// The class of each code point, indexed by it; kLastCodePoint + 1 of them.
const CharClass* char_classes();

}  // namespace spikesink
