#pragma once
#include <string>

#include "analysis/config.h"
#include "data/config.h"
#include "models/config.h"
#include "trainer/config.h"

namespace spikesink {

/// `metrics:` is one map to the user and two structs to the code: the loop and the probe do not know each other.
struct MetricsConfig {
  LoggingConfig logging;
  ProbeConfig probe;

  void fields(auto&& v) {
    logging.fields(v);
    probe.fields(v);
  }
};

/// The whole YAML file. Each part of the program is given only the struct that it needs.
struct Config {
  RunConfig run;
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  SystemConfig system;
  CheckpointConfig checkpoint;
  MetricsConfig metrics;

  void fields(auto&& v) {
    v("run", run, "name, place and seed");
    v("model", model, "architecture");
    v("data", data, "documents and tokenizer");
    v("train", train, "length, batch, optimizer, schedule");
    v("system", system, "device and precision");
    v("checkpoint", checkpoint, "when to save");
    v("metrics", metrics, "what to measure and log");
  }
};

/// The first impossible value or combination, as one line that names the key, or empty.
std::string problem_of(const Config& config);

}  // namespace spikesink
