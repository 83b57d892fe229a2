#pragma once
#include <string>

namespace spikesink {

/// A pattern for tiktoken (fancy-regex, over Rust's regex), written so that PCRE2 takes it for the same: \s and the
/// categories of \p{..} and \d as Unicode 16 has them, which neither PCRE2 10.42 nor its \s do. Only what is known to
/// mean the same to both is let through: characters and their escapes, classes of characters, ranges and sets, the sets
/// \s \S \d \D \p \P by general category, groups, alternation, quantifiers greedy, lazy and possessive, looking ahead
/// and back, ^ $ \A \z, the flags i (on ASCII) and s. DataError, which begins with `place`, for all else: it names the
/// byte of the pattern and what to write. Sources: fancy-regex 0.13, src/parse.rs; pcre2pattern(3), 10.42.
std::string pcre2_pattern(const std::string& pattern, const std::string& place);

}  // namespace spikesink
