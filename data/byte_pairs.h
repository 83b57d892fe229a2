#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "data/rank_table.h"

namespace spikesink {

/// Appends the ids of one piece: that of the token that is the piece if there is one, else of the tokens that are left
/// when neighbours have been merged for as long as some make a token, those of the lowest rank first, of equals the
/// leftmost. n bytes take O(n log n) time. Every byte of the piece must be a token. Source: openai/tiktoken,
/// src/lib.rs.
void encode_piece(const RankTable& ranks, std::string_view piece, std::vector<std::int32_t>& ids);

}  // namespace spikesink
