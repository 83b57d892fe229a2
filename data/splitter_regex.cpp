#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <optional>

#include "data/splitter.h"
#include "data/unicode_classes.h"
#include "data/utf8.h"
#include "io/failure.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

/// A class of characters, or all others, as it stands between the brackets of a pattern.
std::string ranges_of(CharClass c, bool others) {
  std::string out;
  const auto add = [&](char32_t first, char32_t last) {
    if (first <= last) out += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", std::uint32_t{first}, std::uint32_t{last});
  };
  if (!others) {
    for (const auto& [first, last] : code_points_of(c)) add(first, last);
    return out;
  }
  constexpr char32_t kSurrogates = 0xD800, kAfterSurrogates = 0xE000;  // no characters: PCRE2 refuses them
  char32_t from = 0;
  const auto add_gap = [&](char32_t end) {
    if (from < kSurrogates && end > kSurrogates) {
      add(from, kSurrogates - 1);
      from = kAfterSurrogates;
    }
    add(from, end - 1);
  };
  for (const auto& [first, last] : code_points_of(c)) {
    if (first > 0) add_gap(first);
    from = last + 1;
  }
  add_gap(kLastCodePoint + 1);
  return out;
}

/// A pattern of Rust's regex for PCRE2: the three classes are written out by Unicode 16, since either side has its own
/// version and PCRE2's \s also has U+180E. Problems are what PCRE2 would take for something else.
class Translation {
 public:
  explicit Translation(std::string_view pattern) : in_(pattern) {
    while (at_ < in_.size() && problem_.empty()) step();
  }
  const std::string& pattern() const { return out_; }
  const std::string& problem() const { return problem_; }

 private:
  void step() {
    const std::string_view rest = in_.substr(at_);
    if (rest[0] == '\\') return escape(rest);
    if (in_class_ && rest[0] == '[')
      problem_ = "[ inside of [...] is a set for one and a character for the other: write \\[";
    for (const std::string_view sets : {"&&", "--", "~~"})
      if (in_class_ && rest.starts_with(sets)) problem_ = fmt::format("{} inside of [...] is not to be had", sets);
    if (rest[0] == '[' && !in_class_) {
      in_class_ = true;
      take(rest.starts_with("[^]") || rest.starts_with("[]") ? rest.find(']') + 1 : rest.starts_with("[^") ? 2 : 1);
      return;
    }
    if (rest[0] == ']') in_class_ = false;
    take(1);
  }
  void escape(std::string_view rest) {
    struct Escape {
      std::string_view text;
      CharClass of;
      bool others;
    };
    static constexpr auto kEscapes = std::to_array<Escape>({{"\\s", CharClass::kSpace, false},
                                                            {"\\S", CharClass::kSpace, true},
                                                            {"\\p{L}", CharClass::kLetter, false},
                                                            {"\\pL", CharClass::kLetter, false},
                                                            {"\\P{L}", CharClass::kLetter, true},
                                                            {"\\PL", CharClass::kLetter, true},
                                                            {"\\p{N}", CharClass::kNumber, false},
                                                            {"\\pN", CharClass::kNumber, false},
                                                            {"\\P{N}", CharClass::kNumber, true},
                                                            {"\\PN", CharClass::kNumber, true}});
    for (const auto& [text, of, others] : kEscapes)
      if (rest.starts_with(text)) {
        const std::string ranges = ranges_of(of, others);
        out_ += in_class_ ? ranges : "[" + ranges + "]";
        at_ += text.size();
        return;
      }
    take(2);
  }
  void take(std::size_t n) {
    out_ += in_.substr(at_, n);
    at_ += n;
  }

  std::string_view in_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_, problem_;
};

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

template <auto kFree>
struct Freed {
  void operator()(auto* p) const { kFree(p); }
};
using Code = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>>;

class RegexSplitter final : public Splitter {
 public:
  RegexSplitter(const std::string& pattern, const std::string& place) : place_(place) {
    const auto fail = [&](const std::string& why) { throw DataError(fmt::format("{}: the pattern {}", place, why)); };
    if (!is_utf8(pattern)) fail("is no UTF-8");
    const Translation translation(pattern);
    if (!translation.problem().empty()) fail("is not the same to tiktoken and PCRE2: " + translation.problem());
    int error = 0;
    std::size_t at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translation.pattern().data()), translation.pattern().size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                              &error, &at, nullptr));
    if (!code_) fail("does not compile: " + message_of(error));
    std::uint32_t may_be_empty = 0;
    pcre2_pattern_info(code_.get(), PCRE2_INFO_MATCHEMPTY, &may_be_empty);
    if (may_be_empty) fail("matches the empty text, so that it could not go on from there");
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT, pcre2_match() goes without
  }

  void split(std::string_view text, std::vector<std::uint32_t>& lengths) const override {
    require(text.size() <= UINT32_MAX, "splitter: a text of ", text.size(), " bytes, expected less than 4 GiB");
    lengths.clear();
    const MatchData data(pcre2_match_data_create(1, nullptr));
    const MatchContext context(pcre2_match_context_create(nullptr));
    const JitStack stack(pcre2_jit_stack_create(std::size_t{32} << 10, std::size_t{64} << 20, nullptr));
    require(data && context && stack, "splitter: no memory for PCRE2");
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
    pcre2_set_match_limit(context.get(), UINT32_MAX);
    const std::size_t* bounds = pcre2_get_ovector_pointer(data.get());
    for (std::size_t at = 0; at < text.size(); at = bounds[1]) {
      const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                    PCRE2_NO_UTF_CHECK, data.get(), context.get());
      if (found < 0 && found != PCRE2_ERROR_NOMATCH)
        throw DataError(fmt::format("{}: PCRE2 gave up the pattern on a text of {} bytes: {}", place_, text.size(),
                                    message_of(found)));
      if (found == PCRE2_ERROR_NOMATCH || bounds[1] <= at)
        throw DataError(fmt::format("{}: the pattern leaves out U+{:04X}, at byte {} of a text; let it end in |(?s:.)",
                                    place_, std::uint32_t{character_at(text.data(), at).code_point}, at));
      lengths.push_back(static_cast<std::uint32_t>(bounds[1] - at));
    }
  }

 private:
  std::string place_;
  Code code_;
};

}  // namespace

std::unique_ptr<Splitter> detail::make_regex(const std::string& pattern, const std::string& place) {
  return std::make_unique<RegexSplitter>(pattern, place);
}

std::unique_ptr<Splitter> make_splitter(const std::string& pattern, const std::string& place) {
  auto scanner = detail::make_scanner(pattern);
  return scanner ? std::move(scanner) : detail::make_regex(pattern, place);
}

}  // namespace spikesink
