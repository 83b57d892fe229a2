#pragma once
#include "analysis/study/study.h"

namespace spikesink {

/// What simulated quantisation (kSchemes, quantizer.h) costs: the loss, and by block how far the residual stream is
/// from that of the model as it is, |h' - h| / |h| of each token, on spike tokens and others.
void quantization(const Study& study, Results& results);

}  // namespace spikesink
