#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// "trajectory": magnitudes of the residual stream after each of the 2 L blocks and of what each block adds, and the
/// blocks that take the spike channels up and down (SpikePlaces). Sources: Sun, Canziani, LeCun, Zhu 2026,
/// arXiv:2603.05498, section 3; the top three and the median of |h| over positions and channels, mean over sequences,
/// are those of Sun et al. 2024, arXiv:2402.17762.
void trajectory(const Study& study, Results& results);

}  // namespace spikesink
