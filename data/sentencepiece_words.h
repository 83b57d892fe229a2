#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "data/rank_table.h"
#include "data/sentencepiece_model.h"

namespace spikesink {

/// Encodes by a sentencepiece model word by word, many times as fast as the library, which merges in the text as a
/// whole. For models like Llama 2's and those of `spikesink tokenizer train`: BPE with bytes for unknown characters, no
/// normalisation, and no piece in which a word starts after its beginning, so that no merge crosses words.
class SentencePieceWords {
 public:
  /// Null for a model of another kind.
  static std::unique_ptr<SentencePieceWords> make(const SentencePieceModel& model);

  /// Appends the ids of a text, which must be UTF-8.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const;

 private:
  SentencePieceWords(const std::vector<RankTable::Token>& tokens, std::vector<std::int32_t> priorities,
                     const std::array<std::int32_t, 256>& byte_ids, bool space_in_front);
  void merge(std::string_view word, std::vector<std::int32_t>& ids) const;

  RankTable ranks_;                       ///< of the pieces, by id
  std::vector<std::int32_t> priorities_;  ///< by id: how many scores are better
  std::array<std::int32_t, 256> byte_ids_;
  bool space_in_front_;
  std::vector<bool> by_merging_;  ///< by id: whether merging the piece's characters makes the piece
};

}  // namespace spikesink
