#pragma once
#include <string>
#include <variant>
#include <vector>

#include "io/tensorboard.h"

namespace spikesink {

// What TensorBoard's HParams page reads: what each run was made with, and which of it an experiment varies.
// Source: tensorboard/plugins/hparams/plugin_data.proto, api.proto, summary.py.

using HyperparameterValue = std::variant<double, bool, std::string>;  ///< strings are UTF-8
struct Hyperparameter {
  std::string name;
  HyperparameterValue value;
  bool operator==(const Hyperparameter&) const = default;
};
using Hyperparameters = std::vector<Hyperparameter>;

/// Kept in memory until EventFile::flush(), as all that follow.
void write_session_start(EventFile& events, const Hyperparameters& hyperparameters);
enum class SessionEnd { kDone, kFailed };
void write_session_end(EventFile& events, SessionEnd end);
/// Takes what earlier sessions said of themselves out of a folder's event files: TensorBoard would show the first, and
/// who goes on with a run writes it again.
void drop_sessions(const std::string& folder);

/// One of the page's columns: what differs between runs, and the values that it takes.
struct HyperparameterColumn {
  std::string name;
  std::vector<HyperparameterValue> values;  ///< each once
};
/// A scalar that runs are compared by.
struct MetricColumn {
  std::string tag;
  std::string title;
  bool held_out = true;  ///< measured on held-out data, else in training
};
/// Writes what the runs in the folders below `folder` have in common, in place of the event files right in it. With no
/// hyperparameters there is nothing to write.
void write_experiment(const std::string& folder, const std::vector<HyperparameterColumn>& hyperparameters,
                      const std::vector<MetricColumn>& metrics);

}  // namespace spikesink
