#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spikesink {

/// What a sentencepiece model's file says of how it encodes; the library itself does not tell.
/// Source: google/sentencepiece, src/sentencepiece_model.proto.
struct SentencePieceModel {
  enum class Type : std::int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };
  std::vector<Piece> pieces;   ///< by id
  bool pair_encoding = false;  ///< BPE
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool identity = true;        ///< the normaliser has no table of its own
  bool space_in_front = true;  // a text is encoded as if it began with one
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Nothing if the bytes are no such message.
std::optional<SentencePieceModel> parse_sentencepiece_model(std::string_view content);

}  // namespace spikesink
