#include "data/splitter_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>
#include <vector>

#include "data/unicode_classes.h"
#include "data/utf8.h"
#include "io/failure.h"

namespace spikesink {
namespace {

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string range_of(char32_t first, char32_t last) {
  return fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", std::uint32_t{first}, std::uint32_t{last});
}

/// As it stands between the brackets of a class.
std::string ranges_of(std::span<const CodePoints> set) {
  std::string out;
  for (const auto& [first, last] : set) out += range_of(first, last);
  return out;
}

/// The same of all characters that are not in the set.
std::string ranges_between(std::span<const CodePoints> set) {
  constexpr char32_t kSurrogates = 0xD800, kAfterSurrogates = 0xE000;  // no characters: PCRE2 refuses them
  std::string out;
  char32_t from = 0;
  const auto add_gap = [&](char32_t end) {
    if (from < kSurrogates && end > kSurrogates) {
      out += range_of(from, kSurrogates - 1);
      from = kAfterSurrogates;
    }
    if (from < end) out += range_of(from, end - 1);
  };
  for (const auto& [first, last] : set) {
    add_gap(first);
    from = last + 1;
  }
  add_gap(kLastCodePoint + 1);
  return out;
}

class Translation {
 public:
  Translation(std::string_view pattern, const std::string& place) : in_(pattern), place_(place) {
    while (at_ < in_.size()) in_class_ ? step_in_class() : step();
  }
  const std::string& pattern() const { return out_; }

 private:
  /// What stands before in a class.
  enum class Before { kStart, kCharacter, kOpenRange, kRange, kSet };
  struct Group {
    bool looks, ignores_case;  ///< around; before it
  };

  [[noreturn]] void refuse(std::string_view what, std::string_view why, std::string_view mend) const {
    throw DataError(fmt::format("{}: the pattern has {} at byte {}, which {}; {}", place_, what, at_, why, mend));
  }
  /// Of what PCRE2 might take for something else.
  [[noreturn]] void refuse_unknown(std::string_view what, std::string_view mend) const {
    refuse(what, "need not be the same to tiktoken and PCRE2", mend);
  }

  std::string_view rest() const { return in_.substr(at_); }
  void take(std::size_t n) {
    out_ += in_.substr(at_, n);
    at_ += n;
  }
  /// Passes over n bytes, for which this stands.
  void put(std::string_view text, std::size_t n) {
    out_ += text;
    at_ += n;
  }

  void step() {
    switch (in_[at_]) {
      case '\\':
        return escape();
      case '[':
        return open_class();
      case '(':
        return open_group();
      case ')':
        return close_group();
      case '*':
      case '+':
      case '?':
      case '{':
        return quantifier();
      case '|':
      case '^':
      case '$':
        may_repeat_ = false;
        return take(1);
      default:
        return character(1, in_[at_], in_.substr(at_, 1));
    }
  }

  /// One that is `n` bytes of the pattern, for which `text` stands; `first`: its first byte.
  void character(std::size_t n, char first, std::string_view text) {
    if (ignore_case_ && !is_ascii(first)) refuse_case("a character beyond ASCII");
    may_repeat_ = true;
    if (in_class_) before_ = before_ == Before::kOpenRange ? Before::kRange : Before::kCharacter;
    put(text, n);
  }
  [[noreturn]] void refuse_case(std::string_view what) const {
    refuse(what, "need not have the same cases to tiktoken and PCRE2, under the flag i", "write all cases of it");
  }

  void quantifier() {
    const std::string_view all = rest();
    std::size_t size = 1;
    if (all[0] == '{') {
      while (size < all.size() && (is_digit(all[size]) || all[size] == ',')) ++size;
      const std::string_view inside = all.substr(1, size - 1);
      if (inside.empty() || inside[0] == ',' || std::ranges::count(inside, ',') > 1 || size == all.size() ||
          all[size] != '}')
        refuse_unknown("{ without {N}, {N,} or {N,M}", "write one of these, or \\{ for the character");
      ++size;
    }
    if (!may_repeat_) refuse_unknown(all.substr(0, size), "let it follow a character, a class or a group in (?:...)");
    if (size < all.size() && (all[size] == '?' || all[size] == '+')) ++size;
    may_repeat_ = false;
    take(size);
  }

  void open_group() {
    const std::string_view all = rest();
    const Group group{.looks = false, .ignores_case = ignore_case_};
    may_repeat_ = false;
    for (const std::string_view look : {"(?=", "(?!", "(?<=", "(?<!"})
      if (all.starts_with(look)) {
        groups_.push_back({.looks = true, .ignores_case = ignore_case_});
        return take(look.size());
      }
    for (const std::string_view plain : {"(?:", "(?>"})
      if (all.starts_with(plain)) {
        groups_.push_back(group);
        return take(plain.size());
      }
    if (all.starts_with("(?")) return flags(group);
    if (all.starts_with("(*")) refuse_unknown("(*", "write \\* for the character");
    groups_.push_back(group);
    take(1);
  }
  void flags(const Group& group) {
    const std::string_view all = rest();
    bool on = true;
    std::size_t size = 2;
    for (; size < all.size() && (all[size] == 'i' || all[size] == 's' || (all[size] == '-' && on)); ++size) {
      if (all[size] == '-') on = false;
      if (all[size] == 'i') ignore_case_ = on;
    }
    const bool ends = size < all.size() && size > 2 && all[size - 1] != '-' && (all[size] == ':' || all[size] == ')');
    if (!ends)
      refuse_unknown(
          all.substr(0, std::min<std::size_t>(size + 1, all.size())),
          "groups are (...), (?:...), (?>...), (?=...), (?!...), (?<=...), (?<!...), or have the flags i and s");
    if (all[size] == ':') groups_.push_back(group);
    take(size + 1);
  }
  void close_group() {
    may_repeat_ = false;
    if (!groups_.empty()) {  // else it does not compile
      may_repeat_ = !groups_.back().looks;
      ignore_case_ = groups_.back().ignores_case;
      groups_.pop_back();
    }
    take(1);
  }

  void open_class() {
    in_class_ = true;
    before_ = Before::kStart;
    take(rest().starts_with("[^") ? 2 : 1);
    if (rest().starts_with(']')) character(1, ']', "\\]");
  }
  void step_in_class() {
    const std::string_view all = rest();
    for (const std::string_view sets : {"&&", "--", "~~"})
      if (all.starts_with(sets))
        refuse(fmt::format("{} in [...]", sets), "PCRE2 has not",
               "write the characters out, those of the text with \\");
    switch (all[0]) {
      case '\\':
        return escape();
      case '[':
        refuse_unknown("[ in [...]", "write \\[ for the character");
      case ']':
        in_class_ = false;
        may_repeat_ = true;
        return take(1);
      case '-':
        return hyphen();
      default:
        return character(1, all[0], all.substr(0, 1));
    }
  }
  void hyphen() {
    if (before_ == Before::kStart || before_ == Before::kOpenRange || rest().starts_with("-]"))
      return character(1, '-', "\\-");
    if (before_ != Before::kCharacter) refuse_unknown("- behind a set or a range", "write \\- for the character");
    before_ = Before::kOpenRange;
    take(1);
  }

  void escape() {
    const std::string_view all = rest();
    const char c = all.size() > 1 ? all[1] : '\0';
    if (c == 's' || c == 'S') return set(2, code_points_of(CharClass::kSpace), c == 'S');
    if (c == 'd' || c == 'D') return category("Nd", 2, c == 'D');
    if (c == 'p' || c == 'P') return property(c == 'P');
    if (c == 'x' || c == 'u' || c == 'U') return hexadecimal();
    if (c == 'v') return character(2, c, "\\x{b}");
    const bool is_mark = c >= ' ' && c <= '~' && !std::isalnum(static_cast<unsigned char>(c)) && c != '<' && c != '>';
    if (is_mark || (c != '\0' && std::string_view("nrtfae").find(c) != std::string_view::npos))
      return character(2, c, all.substr(0, 2));
    if (!in_class_ && (c == 'A' || c == 'z')) {
      may_repeat_ = false;
      return take(2);
    }
    const std::string what(all.substr(0, c == '\0' ? 1 : 1 + character_at(all.data(), 1).size));
    if (c == 'w' || c == 'W') refuse_unknown(what, "write out what it shall have, as in [\\p{L}\\p{M}\\p{N}_]");
    if (c == 'b' || c == 'B') refuse_unknown(what, "write what stands before or behind, as in (?!\\p{L})");
    if (c == 'h' || c == 'H') refuse_unknown(what, "write [0-9A-Fa-f], which it is to tiktoken, or [^...]");
    refuse_unknown(what, "write the characters themselves");
  }

  void hexadecimal() {
    const std::string_view all = rest();
    const bool braces = all.size() > 2 && all[2] == '{';
    const std::size_t first = braces ? 3 : 2, width = all[1] == 'x' ? 2 : all[1] == 'u' ? 4 : 8;
    std::size_t end = first;
    while (end < all.size() && std::isxdigit(static_cast<unsigned char>(all[end])) && (braces || end < first + width))
      ++end;
    const std::size_t digits = end - first;
    const bool closed = braces ? digits > 0 && digits <= 8 && end < all.size() && all[end] == '}' : digits == width;
    if (!closed) refuse_unknown(all.substr(0, 2), "write a character by its number as \\x{1F600}");
    const std::string number(all.substr(first, digits));
    const bool beyond = std::stoul(number, nullptr, 16) >= 0x80;
    character(end + braces, beyond ? '\x80' : 'a', "\\x{" + number + "}");
  }

  void property(bool others) {
    const std::string_view all = rest();
    std::string_view name = all.substr(2, 1);
    std::size_t size = 3;
    if (name == "{") {
      const std::size_t end = all.find('}');
      if (end == all.npos) refuse_unknown("\\p{", "write a } behind the category");
      name = all.substr(3, end - 3);
      size = end + 1;
    }
    if (ignore_case_) refuse_case(all.substr(0, size));
    if (name == "L") return set(size, code_points_of(CharClass::kLetter), others);
    if (name == "N") return set(size, code_points_of(CharClass::kNumber), others);
    category(name, size, others);
  }
  /// A general category: PCRE2's and what has come into it since.
  void category(std::string_view name, std::size_t size, bool others) {
    const auto later = later_code_points_of(name);
    if (!later)
      refuse_unknown(rest().substr(0, size), fmt::format("write one or several of \\p{{L}}, \\p{{N}}, \\p{{{}}}",
                                                         fmt::join(later_categories(), "}, \\p{")));
    const std::string own = fmt::format("\\p{{{}}}{}", name, ranges_of(*later));
    if (!in_class_) return put_set(fmt::format("[{}{}]", others ? "^" : "", own), size);
    if (others) refuse(rest().substr(0, size), "has no ranges in [...]", "write [^...] with \\p or \\d instead");
    put_set(own, size);
  }
  void set(std::size_t size, std::span<const CodePoints> code_points, bool others) {
    const std::string ranges = others ? ranges_between(code_points) : ranges_of(code_points);
    put_set(in_class_ ? ranges : "[" + ranges + "]", size);
  }
  void put_set(const std::string& text, std::size_t size) {
    if (in_class_ && before_ == Before::kOpenRange) refuse_unknown("a range to a set", "write \\- for the character");
    before_ = Before::kSet;
    may_repeat_ = true;
    put(text, size);
  }

  std::string_view in_;
  const std::string& place_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false, ignore_case_ = false;
  bool may_repeat_ = false;  // what stands before
  Before before_ = Before::kStart;
  std::vector<Group> groups_;
};

}  // namespace

std::string pcre2_pattern(const std::string& pattern, const std::string& place) {
  if (!is_utf8(pattern)) throw DataError(place + ": the pattern is no UTF-8; write it in UTF-8");
  return Translation(pattern, place).pattern();
}

}  // namespace spikesink
