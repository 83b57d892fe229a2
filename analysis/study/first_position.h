#pragma once
#include "analysis/study/study.h"

namespace spikesink {

inline constexpr std::int64_t kSingularValues = 4;

/// "first_position": attention at position 1 sees itself only, so what it adds there is W_VO y, y what the block reads
/// and W_VO = sum_h W_O^h W_V^h, with a gate between the two where the model has one. Of each layer of attention: the
/// leading singular values and vectors of W_VO without gate, by Lanczos from products; how far the true output at
/// position 1 is from W_VO y, with the gate's values there; |cosine| of s* (leading_direction) with the left singular
/// vectors, with outputs, and with the residual stream, at position 1 and at others. Models whose FFNs have no s* have
/// the first two only. Source: Sun, Canziani, LeCun, Zhu 2026, arXiv:2603.05498, section 3.
void first_position(const Study& study, Results& results);

}  // namespace spikesink
