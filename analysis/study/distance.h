#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// "distance": how far back each head looks, mean over queries t >= 2 and sequences of sum_k A[t,k] (t - k); and
/// without position 1, sum_{k >= 2} A[t,k] (t - k) / sum_{k >= 2} A[t,k]. Attention A is computed from q, k and the
/// log-sum-exp, a block of queries of one head at a time. Source: Sun, Canziani, LeCun, Zhu 2026, arXiv:2603.05498,
/// section 3.
void attention_distance(const Study& study, Results& results);

}  // namespace spikesink
