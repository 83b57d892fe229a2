#pragma once
#include <string_view>

#include "analysis/study/study.h"

namespace spikesink {

/// The layers, from the first, that count as early ones: those before the step-up block of published 7B models.
inline constexpr std::int64_t kEarlyLayers = 2;

/// Is a token's text a delimiter: only punctuation of ASCII and line feeds, once spaces and tabs are taken out, and
/// something of these? U+2581, sentencepiece's space, counts as a space.
bool is_delimiter(std::string_view text);

/// "delimiters": cosine of the token embeddings with the scale of the first block's input norm, and attention of tokens
/// to themselves, A[t,t] = exp(scale q_t.k_t - lse_t), by layer and head: delimiters against the other tokens. Without
/// a tokenizer it is left out, and the summary says why; without input norms the cosine is. Source: Sun, Canziani,
/// LeCun, Zhu 2026, arXiv:2603.05498, section 3.
void delimiters(const Study& study, Results& results);

}  // namespace spikesink
