#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "data/rank_table.h"

namespace spikesink {

// Merging of neighbours for as long as some make a token, those of the lowest priority first, of equals the leftmost.
// n bytes take O(n log n) time.

/// Appends the ids of one piece: that of the token that is the piece if there is one, else of the tokens that are left
/// when its bytes have been merged; the priority is the rank. Every byte must be a token. Source: openai/tiktoken,
/// src/lib.rs.
void encode_piece(const RankTable& ranks, std::string_view piece, std::vector<std::int32_t>& ids);

/// Calls use(part, rank) for what is left, from left to right, when the characters of a text have been merged, which
/// must be UTF-8; priorities are by rank. The rank of a character that is no token is RankTable::kNone. Source:
/// google/sentencepiece, src/bpe_model.cc.
void merge_characters(const RankTable& ranks, std::span<const std::int32_t> priorities, std::string_view text,
                      const std::function<void(std::string_view, std::int32_t)>& use);

}  // namespace spikesink
