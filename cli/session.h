#pragma once
#include <memory>
#include <string>

#include "analysis/measure.h"
#include "configs/config.h"
#include "data/tokenizer.h"
#include "kernels/core/stream.h"
#include "models/decoder.h"
#include "trainer/dist/ranks.h"

namespace spikesink::cli {

/// The stream that a config asks for. UsageError where this build or machine does not have it, or not the libraries
/// that compute on it.
Stream make_stream(const SystemConfig& system);
/// Of one of several ranks: on its GPU; on the CPU with its share of the cores that it may run on, unless
/// OMP_NUM_THREADS says how many threads each has. All ranks call.
Stream make_stream(const SystemConfig& system, const Ranks& ranks);
/// Why the device has no such precision, in one line, or empty.
std::string precision_problem(const SystemConfig& system);
/// UsageError where the config's device cannot run its model, or not in its precision.
void require_kernels(const Config& config);

/// Where a config asks a model to run, and the model, without memory yet.
struct Session {
  Stream stream;
  std::unique_ptr<Decoder> model;
};
Session make_session(const Config& config, Stream stream);
/// On a stream of its own.
Session make_session(const Config& config);

/// What a probe or an evaluation of this config measures.
MeasureOptions measure_options(const Config& config, const Tokenizer& tokenizer);

/// The token that bounds attention, where the config asks for documents to be kept apart.
std::optional<std::int32_t> document_end(const Config& config, const Tokenizer& tokenizer);

}  // namespace spikesink::cli
