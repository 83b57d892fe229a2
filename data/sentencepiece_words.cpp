#include "data/sentencepiece_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "data/byte_pairs.h"
#include "data/utf8.h"

namespace spikesink {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, in place of a space

/// Where the word that starts at `at` ends: before a space that comes after something else.
std::size_t word_end(std::string_view text, std::size_t at) {
  while (text.substr(at).starts_with(kSpace)) at += kSpace.size();
  return std::min(text.find(kSpace, at), text.size());
}

bool is_one_character(std::string_view text) {
  return !text.empty() && is_utf8(text) && character_at(text.data(), 0).size == text.size();
}

}  // namespace

std::unique_ptr<SentencePieceWords> SentencePieceWords::make(const SentencePieceModel& model) {
  using Type = SentencePieceModel::Type;
  if (!model.pair_encoding || !model.byte_fallback || model.whitespace_as_suffix || !model.identity ||
      model.remove_extra_whitespaces || !model.escape_whitespaces)
    return nullptr;
  std::array<std::int32_t, 256> byte_ids;
  byte_ids.fill(RankTable::kNone);
  std::vector<RankTable::Token> tokens;
  std::vector<float> scores;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& [text, score, type] = model.pieces[i];
    const auto id = static_cast<std::int32_t>(i);
    switch (type) {
      case Type::kNormal:
        if (text.empty() || std::isnan(score) || !is_utf8(text) || word_end(text, 0) != text.size()) return nullptr;
        tokens.push_back({text, id});
        scores.push_back(score);
        break;
      case Type::kByte:
        for (std::size_t b = 0; b < byte_ids.size(); ++b)
          if (text == fmt::format("<0x{:02X}>", b)) byte_ids[b] = id;
        break;
      case Type::kUnknown:
      case Type::kControl:
        if (is_one_character(text)) return nullptr;  // which would be found in text
        break;
      default:
        return nullptr;
    }
  }
  if (std::ranges::find(byte_ids, RankTable::kNone) != byte_ids.end()) return nullptr;
  std::ranges::sort(scores, std::greater());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<std::int32_t> priorities(model.pieces.size());
  for (const RankTable::Token& token : tokens) {
    const float score = model.pieces[static_cast<std::size_t>(token.rank)].score;
    priorities[static_cast<std::size_t>(token.rank)] =
        static_cast<std::int32_t>(std::ranges::lower_bound(scores, score, std::greater()) - scores.begin());
  }
  return std::unique_ptr<SentencePieceWords>(
      new SentencePieceWords(tokens, std::move(priorities), byte_ids, model.space_in_front));
}

SentencePieceWords::SentencePieceWords(const std::vector<RankTable::Token>& tokens,
                                       std::vector<std::int32_t> priorities,
                                       const std::array<std::int32_t, 256>& byte_ids, bool space_in_front)
    : ranks_(tokens), priorities_(std::move(priorities)), byte_ids_(byte_ids), space_in_front_(space_in_front) {
  by_merging_.resize(priorities_.size());
  std::vector<std::int32_t> merged;
  for (const auto& [text, id] : tokens) {
    merged.clear();
    merge(text, merged);
    by_merging_[static_cast<std::size_t>(id)] = merged == std::vector{id};
  }
}

void SentencePieceWords::merge(std::string_view word, std::vector<std::int32_t>& ids) const {
  merge_characters(ranks_, priorities_, word, [&](std::string_view part, std::int32_t id) {
    if (id != RankTable::kNone) return ids.push_back(id);
    for (const char byte : part) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
  });
}

void SentencePieceWords::encode(std::string_view text, std::vector<std::int32_t>& ids) const {
  if (text.empty()) return;
  std::string escaped(space_in_front_ ? kSpace : "");
  escaped.reserve(escaped.size() + text.size() * 3 / 2);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    escaped += text.substr(at, space - at);
    if (space < text.size()) escaped += kSpace;
    at = space + 1;
  }
  for (std::size_t at = 0; at < escaped.size();) {
    const std::size_t end = word_end(escaped, at);
    const std::string_view word = std::string_view(escaped).substr(at, end - at);
    const std::int32_t id = ranks_.find(word);
    if (id != RankTable::kNone && by_merging_[static_cast<std::size_t>(id)])
      ids.push_back(id);
    else
      merge(word, ids);
    at = end;
  }
}

}  // namespace spikesink
