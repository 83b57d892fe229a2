#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// "sinks": the sink and spike figures of a probe (SinkFigures, SpikeFigures), sequence by sequence and with their
/// distribution: of the study's sequences under "length/", of its longer ones, where there are some, under "context/".
/// first_token_mass and the others have the means of their names in docs/metrics.md.
void sisters(const Study& study, Results& results);

}  // namespace spikesink
