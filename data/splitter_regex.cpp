#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <memory>

#include "data/splitter.h"
#include "data/splitter_pattern.h"
#include "data/utf8.h"
#include "io/failure.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

/// Of the search for one piece, before it is given up: some for each byte, so that a piece may be as long as the text,
/// but fewer than patterns that try all ways to cut it up would take. tiktoken's engine gives up after 10^6.
std::uint32_t most_steps(std::size_t text_bytes) {
  constexpr std::uint64_t kSteps = 1'000'000, kStepsOfAByte = 8;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(kSteps + kStepsOfAByte * text_bytes, UINT32_MAX));
}

template <auto kFree>
struct Freed {
  void operator()(auto* p) const { kFree(p); }
};
using Code = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Freed<pcre2_compile_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>>;

class RegexSplitter final : public Splitter {
 public:
  RegexSplitter(const std::string& pattern, const std::string& place) : place_(place) {
    const auto fail = [&](const std::string& why) { throw DataError(fmt::format("{}: the pattern {}", place, why)); };
    const std::string translated = pcre2_pattern(pattern, place);
    const CompileContext context(pcre2_compile_context_create(nullptr));
    require(context != nullptr, "splitter: no memory for PCRE2");
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);  // what . leaves out: the library may have another default
    int error = 0;
    std::size_t at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                              &error, &at, context.get()));
    if (!code_) fail("does not compile: " + message_of(error) + "; mend it");
    std::uint32_t may_be_empty = 0;
    pcre2_pattern_info(code_.get(), PCRE2_INFO_MATCHEMPTY, &may_be_empty);
    if (may_be_empty) fail("matches the empty text, so that it could not go on from there; let it take a character");
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
    pcre2_set_match_limit(context.get(), most_steps(text.size()));
    const std::size_t* bounds = pcre2_get_ovector_pointer(data.get());
    for (std::size_t at = 0; at < text.size(); at = bounds[1]) {
      const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                    PCRE2_NO_UTF_CHECK, data.get(), context.get());
      if (found < 0 && found != PCRE2_ERROR_NOMATCH)
        throw DataError(fmt::format(
            "{}: PCRE2 gave up the pattern at byte {} of a text of {} bytes: {}; write it with possessive quantifiers, "
            "as in (?:a++b)++, or leave the text out",
            place_, at, text.size(), message_of(found)));
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
