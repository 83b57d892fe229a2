#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace spikesink {

/// Cuts text into the pieces that byte pairs are merged in: the matches of a tiktoken encoding's pattern, one after the
/// other. May be called from several threads.
class Splitter {
 public:
  virtual ~Splitter() = default;
  /// Replaces `lengths` by the lengths of all pieces, in bytes, which together are the text. It must be UTF-8.
  /// DataError where the pattern leaves a part of the text out, which tiktoken would drop.
  virtual void split(std::string_view text, std::vector<std::uint32_t>& lengths) const = 0;
};

/// Patterns that are scanned by code of our own, several times as fast as by PCRE2.
/// Source: openai/tiktoken, tiktoken_ext/openai_public.py (0.14.0); meta-llama/llama3, llama/tokenizer.py.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kGpt2PossessivePattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kCl100kPattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";

/// Of any pattern that pcre2_pattern() lets through: scanned if it is one of those above, else matched by PCRE2.
/// DataError, which begins with `place`, for a pattern that it does not, that does not compile, or that matches the
/// empty text. split() then has DataErrors of patterns too that try out more ways than a text has bytes, by far.
std::unique_ptr<Splitter> make_splitter(const std::string& pattern, const std::string& place);

namespace detail {
/// Null for a pattern that is none of the four.
std::unique_ptr<Splitter> make_scanner(std::string_view pattern);
std::unique_ptr<Splitter> make_regex(const std::string& pattern, const std::string& place);
}  // namespace detail

}  // namespace spikesink
