#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// "vocabulary": every item of the vocabulary alone at position 1, nothing before it. An item becomes a spike token if
/// some |h| of the residual stream after some block is above spike.abs and above spike.ratio times the item's own
/// median |h| over channels after that block (the lower one). Source: Sun, Canziani, LeCun, Zhu 2026,
/// arXiv:2603.05498, table 2.
void vocabulary(const Study& study, Results& results);

}  // namespace spikesink
