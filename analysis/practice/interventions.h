#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// What spikes and sinks are worth to the model: loss, sinks and spikes with spike channels set to zero or to their
/// mean, with the output of sink heads at zero, and without attention to the first token; and as a control with as many
/// channels and heads drawn at random, or another token.
void interventions(const Study& study, Results& results);

}  // namespace spikesink
