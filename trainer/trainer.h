#pragma once
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "io/hparams.h"
#include "models/decoder.h"
#include "trainer/config.h"
#include "trainer/dist/communicator.h"
#include "trainer/dist/shards.h"
#include "trainer/memory.h"
#include "trainer/probe.h"
#include "trainer/resume_point.h"
#include "trainer/run_folder.h"
#include "trainer/training_step.h"

namespace spikesink {

/// What a run is made of. Everything referred to outlives train().
struct TrainJob {
  const Stream& stream;
  Communicator& communicator;  ///< of the run's ranks
  Decoder& model;              ///< gets its memory and its values here
  Loader& loader;
  Probe& probe;
  const RunFolder& folder;  ///< open and locked
  const TrainConfig& train;
  DType precision;
  StatePrecision state_precision;
  Shards::Options shards;
  std::uint64_t seed;  ///< of the initial weights, and of rounding at random
  const CheckpointConfig& checkpoint;
  const LoggingConfig& logging;
  std::optional<std::int32_t> end_of_text;  ///< as SampleShape's: attention stays inside documents
  std::string config;                       ///< resolved, YAML: kept in the folder and in every checkpoint
  Hyperparameters hyperparameters;          ///< what TensorBoard shows of it
  std::vector<std::string> follower;  ///< a command that sends metrics.jsonl on (trainer/metrics_follower.h), or none
  std::string data;                   ///< a JSON object for metrics.jsonl: what is trained on; empty: nothing is said
  std::vector<std::string> notes;     ///< lines for the log's beginning
  bool resuming = false;              ///< the folder may have a run already
  std::optional<ResumePoint> resume;  ///< none: from step 0
};

/// The job's part that a step is made of.
StepSetup step_setup(const TrainJob& job);

struct TrainResult {
  bool finished;     ///< false: a signal stopped it after a checkpoint
  MemoryUse memory;  ///< that its tensors took
  MemoryUse steps;   ///< after the matrix rate was measured
};

/// Trains from the resume point, or from step 0, to the last step; measures, logs and saves on the way.
/// Returns when the last step is behind it, or when a stop signal (trainer/stop_signals.h) to any rank has stopped it.
/// All ranks call it; rank 0 alone writes the log, metrics and probes.
/// DivergenceError when the loss or the gradient is not finite and train.on_divergence says stop, or it came too often;
/// DataError from the data, or when a file cannot be written.
///
/// Step s (1-based) is logged with the loss that its gradients came from, before its update. A probe, then a checkpoint
/// follow the update. A resume overwrites the model, and moves the loader.
TrainResult train(const TrainJob& job);

}  // namespace spikesink
