// The patterns of GPT-2, Llama 3 and cl100k by hand. tests/data/splitter.cpp holds them against PCRE2.
#include "data/splitter.h"
#include "data/unicode_classes.h"
#include "data/utf8.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

enum class Family { kGpt2, kLlama3, kCl100k };

/// A text that must be UTF-8, by the classes of its characters.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text.data()), size_(text.size()), classes_(char_classes()) {}

  std::size_t size() const { return size_; }
  bool ended(std::size_t at) const { return at == size_; }
  /// The byte there; 0 at the end, which is no character that a pattern names.
  char byte(std::size_t at) const { return at < size_ ? text_[at] : '\0'; }
  bool is_newline(std::size_t at) const { return byte(at) == '\n' || byte(at) == '\r'; }

  struct At {
    CharClass of;
    std::size_t next;  ///< where the character ends
  };
  /// Of the character there, of which there must be one.
  At at(std::size_t at) const {
    const auto b = static_cast<unsigned char>(text_[at]);
    if (b < 0x80) return {classes_[b], at + 1};
    const auto [code_point, bytes] = character_at(text_, at);
    return {classes_[code_point], at + bytes};
  }
  /// The end of the run of characters of class `of` that starts at `at`.
  std::size_t run_end(std::size_t at, CharClass of) const {
    while (at < size_) {
      const auto [c, next] = this->at(at);
      if (c != of) break;
      at = next;
    }
    return at;
  }

 private:
  const char* text_;
  std::size_t size_;
  const CharClass* classes_;
};

template <Family kFamily>
class Scanner final : public Splitter {
 public:
  void split(std::string_view text, std::vector<std::uint32_t>& lengths) const override {
    require(text.size() <= UINT32_MAX, "splitter: a text of ", text.size(), " bytes, expected less than 4 GiB");
    lengths.clear();
    const Reader r(text);
    for (std::size_t at = 0; at < r.size();) {
      const std::size_t end = kFamily == Family::kGpt2 ? gpt2_end(r, at) : llama3_end(r, at);
      lengths.push_back(static_cast<std::uint32_t>(end - at));
      at = end;
    }
  }

 private:
  /// The end of 's, 't, 're, 've, 'm, 'll or 'd after the apostrophe before `at`; `at` itself if there is none.
  static std::size_t contraction_end(const Reader& r, std::size_t at) {
    constexpr bool kAnyCase = kFamily != Family::kGpt2;
    const auto letter = [&](std::size_t i) {
      const char b = r.byte(i);
      return kAnyCase && b >= 'A' && b <= 'Z' ? static_cast<char>(b + ('a' - 'A')) : b;
    };
    const char first = letter(at), second = letter(at + (at < r.size()));
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 1;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l'))
      return at + 2;
    if (kAnyCase && first == '\xC5' && second == '\xBF') return at + 2;  // the long s, an s in any case
    return at;
  }

  /// White space from `at`, which is of that class: a last one is left to the word after it.
  static std::size_t space_end(const Reader& r, std::size_t at) {
    std::size_t end = at, last = at, after_newline = at;
    while (!r.ended(end)) {
      const auto [c, next] = r.at(end);
      if (c != CharClass::kSpace) break;
      if (r.is_newline(end)) after_newline = next;
      last = end;
      end = next;
    }
    const bool to_the_end = r.ended(end);
    if (kFamily == Family::kCl100k && to_the_end) return end;
    if (kFamily != Family::kGpt2 && after_newline != at) return after_newline;
    return to_the_end || last == at ? end : last;
  }

  static std::size_t gpt2_end(const Reader& r, std::size_t at) {
    if (r.byte(at) == '\'')
      if (const std::size_t end = contraction_end(r, at + 1); end != at + 1) return end;
    auto [c, next] = r.at(at);
    if (r.byte(at) == ' ' && !r.ended(next)) {
      const auto [after_space, end] = r.at(next);
      if (after_space != CharClass::kSpace) return r.run_end(end, after_space);
    }
    return c == CharClass::kSpace ? space_end(r, at) : r.run_end(next, c);
  }

  static std::size_t llama3_end(const Reader& r, std::size_t at) {
    if (r.byte(at) == '\'')
      if (const std::size_t end = contraction_end(r, at + 1); end != at + 1) return end;
    const auto [c, next] = r.at(at);
    if (c == CharClass::kLetter) return r.run_end(next, c);
    if (c == CharClass::kNumber) {  // up to three
      std::size_t end = next;
      for (int more = 0; more < 2 && !r.ended(end); ++more) {
        const auto [of, after] = r.at(end);
        if (of != CharClass::kNumber) break;
        end = after;
      }
      return end;
    }
    CharClass following = CharClass::kSpace;
    if (!r.ended(next)) {
      const auto [of, end] = r.at(next);
      following = of;
      if (of == CharClass::kLetter && !r.is_newline(at)) return r.run_end(end, of);
    }
    if (c == CharClass::kOther || (r.byte(at) == ' ' && following == CharClass::kOther)) {
      std::size_t end = r.run_end(next, CharClass::kOther);
      while (r.is_newline(end)) ++end;
      return end;
    }
    return space_end(r, at);
  }
};

}  // namespace

std::unique_ptr<Splitter> detail::make_scanner(std::string_view pattern) {
  if (pattern == kGpt2Pattern || pattern == kGpt2PossessivePattern) return std::make_unique<Scanner<Family::kGpt2>>();
  if (pattern == kLlama3Pattern) return std::make_unique<Scanner<Family::kLlama3>>();
  if (pattern == kCl100kPattern) return std::make_unique<Scanner<Family::kCl100k>>();
  return nullptr;
}

}  // namespace spikesink
