#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/hparams.h"
#include "trainer/config.h"
#include "trainer/probe.h"
#include "trainer/run_folder.h"

namespace spikesink {

/// What a program reads of a run: metrics.jsonl and TensorBoard event files, whichever `loggers` names. A line is on
/// its way to the disk when the call returns, so that a killed run loses none.
class MetricsLog {
 public:
  static constexpr std::string_view kProbeTags = "probe/";  ///< what those of probes in TensorBoard begin with

  /// TensorBoard is told what the run is made with, in place of what an earlier start of it told.
  MetricsLog(const RunFolder& folder, const LoggingConfig& config, const Hyperparameters& hyperparameters = {});
  ~MetricsLog();  ///< by an exception: TensorBoard shows the run as failed

  /// {"step": ..., scalars..., identities...}; TensorBoard, tags are train/NAME, has the scalars.
  void step(std::int64_t step, const Scalars& scalars,
            const std::vector<std::pair<std::string, std::int64_t>>& identities = {});
  /// {"step": ..., "event": "probe", scalars...}; TensorBoard tags are kProbeTags, NAME.
  void probe(std::int64_t step, const Scalars& scalars);
  /// {"step": ..., "event": "data", "program": build_info(), and what the JSON object `data` has}; not in TensorBoard.
  void data(std::int64_t step, const std::string& data);
  /// The last step is done: TensorBoard shows the run as such.
  void done();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spikesink
