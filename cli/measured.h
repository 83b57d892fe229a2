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
  std::string text_key = "data.validation";  ///< where its text was given: "--data"
  bool held_out = false;                     ///< the text is what the run held out
};
/// Reads all but the weights. UsageError, DataError; one if the tokenizer is not the one that it was trained with,
/// whose ids mean other tokens.
Measured open_measured(const MeasuredOptions& options);

/// held_out_samples() of its text, as many as metrics.sequences asks for, or as there are. DataError also where a run
/// held out its text, and that is not there any more: by the run's data.json, where the checkpoint lies in its folder.
std::vector<std::int32_t> samples_of(const Measured& measured, std::int64_t context);

/// A stream that the config asks for and the model with its weights on it.
Session load_model(const Measured& measured);

}  // namespace spikesink::cli
