#pragma once
#include <cstdint>
#include <span>

namespace spikesink {

/// The perplexity of the targets of `samples` (n, context + 1) from `loss_from_position` (1-based) on under their own
/// distribution of single tokens: the least that any predictor without context could reach on them.
double unigram_perplexity(std::span<const std::int32_t> samples, std::int64_t context, std::int64_t loss_from_position);

}  // namespace spikesink
