#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// "norm": what blocks read. x: the residual stream before a block; n(x): x after the block's input norm without its
/// learned scale and bias (x / rms(x); (x - mean) / std; tanh(alpha x)), so that |n(x)_i| <= sqrt(d_model) of RMSNorm
/// and LayerNorm, and 1 of DynamicTanh. Over spike tokens (SpikePlaces) and the others, by block: the largest |n(x)_i|,
/// the share of sum n(x)^2 on the spike channels, the participation ratio (sum n^2)^2 / sum n^4, from 1 (one channel)
/// to d_model; and the mean cosine of pairs of tokens' x, before every block and after the last. Source: Sun, Canziani,
/// LeCun, Zhu 2026, arXiv:2603.05498, section 3.
void normed_tokens(const Study& study, Results& results);
/// Why a model has no such figures.
std::string norm_not_for(const ModelConfig& config);

}  // namespace spikesink
