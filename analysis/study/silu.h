#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// "silu": in each SwiGLU FFN, the cosine of silu(g) and g, and |silu(g)| / |g|, of a token's gate values g (F) before
/// the activation; over spike tokens (SpikePlaces) and over the others. Both are near 1 where the FFN acts as a
/// quadratic form. Source: Sun, Canziani, LeCun, Zhu 2026, arXiv:2603.05498, section 3.
void silu_identity(const Study& study, Results& results);
/// Why a model has no such figures.
std::string silu_not_for(const ModelConfig& config);

}  // namespace spikesink
