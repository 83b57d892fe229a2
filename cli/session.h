#pragma once
#include <memory>

#include "analysis/measure.h"
#include "configs/config.h"
#include "kernels/core/stream.h"
#include "models/decoder.h"

namespace spikesink::cli {

/// Where a config asks a model to run, and the model, with its memory but no values yet.
struct Session {
  Stream stream;
  std::unique_ptr<Decoder> model;
};
Session make_session(const Config& config, bool with_gradients);

/// What a probe or an evaluation of this config measures.
MeasureOptions measure_options(const Config& config);

}  // namespace spikesink::cli
