#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// What the first tokens are worth in a cache of fixed size: the loss with caches of T / 2 and T / 4 tokens (T the
/// length of a sequence), of which 0, 1, 2, 4 or 8 are the first of the sequence and the rest the last (StreamingLLM,
/// see CacheAttention). UsageError for sequences of less than 4 tokens.
void eviction(const Study& study, Results& results);

}  // namespace spikesink
