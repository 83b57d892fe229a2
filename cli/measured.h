#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli/session.h"
#include "trainer/checkpoint.h"

namespace CLI {
class App;
}

namespace spikesink::cli {

/// What `eval` and `analyze` are asked to look at.
struct MeasuredOptions {
  std::string checkpoint;
  std::vector<std::string> data, overrides;
  std::string tokenizer;       ///< empty: the checkpoint's
  std::int64_t sequences = 0;  ///< 0: metrics.sequences
};

/// CHECKPOINT, --data, --tokenizer, --sequences (by default `sequences`, as help has it) and --set.
void add_measured_options(CLI::App& command, MeasuredOptions& options, const std::string& sequences);

/// A checkpoint, its config with what the command line says over it, and its tokenizer.
struct Measured {
  std::string checkpoint;  ///< its folder
  TrainingState state;
  Config config;
  std::unique_ptr<Tokenizer> tokenizer;
};
/// Reads all but the weights. UsageError, DataError.
Measured open_measured(const MeasuredOptions& options);

/// A stream that the config asks for and the model with its weights on it.
Session load_model(const Measured& measured);

}  // namespace spikesink::cli
