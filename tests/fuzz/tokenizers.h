#pragma once
#include <string_view>

#include "data/tokenizer.h"

namespace spikesink::fuzz {

/// Encodes the text and holds what comes out against what Tokenizer promises.
void check_encoding(const Tokenizer& tokenizer, std::string_view text);
/// The same with a few texts of all kinds.
void check_encodings(const Tokenizer& tokenizer);

}  // namespace spikesink::fuzz
