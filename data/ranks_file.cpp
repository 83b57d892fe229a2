#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "data/tiktoken.h"
#include "io/failure.h"

namespace spikesink {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::int8_t kNoDigit = -1;

constexpr std::array<std::int8_t, 256> kBase64 = [] {
  std::array<std::int8_t, 256> digits{};
  digits.fill(kNoDigit);
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kDigits.size(); ++i)
    digits[static_cast<unsigned char>(kDigits[i])] = static_cast<std::int8_t>(i);
  return digits;
}();

/// Nothing for what is no base64: digits in fours, the last four with = or == in place of the last.
std::optional<std::string> base64_decoded(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t bits = 0;
    for (std::size_t i = at; i < at + 4; ++i) {
      const bool padded = i >= text.size() - padding;
      const std::int8_t digit = padded ? std::int8_t{0} : kBase64[static_cast<unsigned char>(text[i])];
      if (digit == kNoDigit) return std::nullopt;
      bits = bits << 6 | static_cast<std::uint32_t>(digit);
    }
    for (const int shift : {16, 8, 0}) out += static_cast<char>(bits >> shift & 0xFF);
  }
  for (std::size_t i = 0; i < padding; ++i) {
    if (out.back() != '\0') return std::nullopt;  // bits that nobody reads: the text of another token
    out.pop_back();
  }
  return out;
}

struct Line {
  std::string_view token, rank;
};
/// The two words of a line; nothing if it has not two.
std::optional<Line> words_of(std::string_view line) {
  const std::size_t end = line.find_first_of(kBlanks);
  if (end == 0 || end == line.npos) return std::nullopt;
  const std::size_t begin = line.find_first_not_of(kBlanks, end);
  if (begin == line.npos) return std::nullopt;
  const std::size_t close = std::min(line.find_first_of(kBlanks, begin), line.size());
  if (line.find_first_not_of(kBlanks, close) != line.npos) return std::nullopt;
  return Line{line.substr(0, end), line.substr(begin, close - begin)};
}

std::string shown(std::string_view word) {
  constexpr std::size_t kMost = 40;
  std::string out;
  for (const char c : word.substr(0, kMost)) out += c >= ' ' && c <= '~' ? c : '?';
  return word.size() > kMost ? out + "..." : out;
}

/// Bytes 0xC0, 0xC1 and 0xF5 to 0xFF, which UTF-8 never has, may lack a token.
bool in_utf8(int byte) { return byte != 0xC0 && byte != 0xC1 && byte < 0xF5; }

}  // namespace

bool looks_like_ranks(std::string_view content) {
  const auto words = words_of(content.substr(0, content.find('\n')));
  return words && base64_decoded(words->token) &&
         std::ranges::all_of(words->rank, [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<RankTable::Token> parse_ranks(std::string_view content, const std::string& path) {
  std::vector<RankTable::Token> tokens;
  std::unordered_map<std::string, int> lines_of_tokens;
  std::unordered_map<std::int32_t, int> lines_of_ranks;
  std::array<bool, 256> has_byte{};
  for (int number = 1; !content.empty(); ++number) {
    const std::size_t end = std::min(content.find('\n'), content.size());
    const std::string_view line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.find_first_not_of(kBlanks) == line.npos) continue;
    const auto fail = [&](const std::string& what) { throw DataError(fmt::format("{}:{}: {}", path, number, what)); };

    const auto words = words_of(line);
    if (!words)
      fail(fmt::format("'{}' is no line of a ranks file: a token in base64, a space and its rank", shown(line)));
    auto bytes = base64_decoded(words->token);
    if (!bytes) fail(fmt::format("'{}' is no base64 of a token", shown(words->token)));
    std::int32_t rank = 0;
    const char* const last = words->rank.data() + words->rank.size();
    const auto [stop, error] = std::from_chars(words->rank.data(), last, rank);
    if (error != std::errc{} || stop != last || rank < 0 || rank >= RankTable::kMostTokens)
      fail(fmt::format("rank '{}' is no whole number from 0 to {}", shown(words->rank), RankTable::kMostTokens - 1));
    if (const auto [first, fresh] = lines_of_tokens.emplace(*bytes, number); !fresh)
      fail(fmt::format("token '{}' has a rank already, in line {}", shown(words->token), first->second));
    if (const auto [first, fresh] = lines_of_ranks.emplace(rank, number); !fresh)
      fail(fmt::format("rank {} is taken already, in line {}", rank, first->second));
    if (bytes->size() == 1) has_byte[static_cast<unsigned char>((*bytes)[0])] = true;
    tokens.push_back({std::move(*bytes), rank});
  }
  for (int byte = 0; byte < 256; ++byte)
    if (in_utf8(byte) && !has_byte[static_cast<std::size_t>(byte)])
      throw DataError(
          fmt::format("{}: no token of the single byte 0x{:02x}, so that not every text has ids: is the file "
                      "whole?",
                      path, byte));
  return tokens;
}

}  // namespace spikesink
