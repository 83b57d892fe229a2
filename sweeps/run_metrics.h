#pragma once
#include <functional>
#include <map>
#include <string>

namespace spikesink {

using Figures = std::map<std::string, double, std::less<>>;  ///< by their names in metrics.jsonl

/// What a run's metrics.jsonl says, read without trust in it.
struct RunMetrics {
  Figures step;                  ///< the newest logged step: step, tokens, loss, lr, ...; empty: none yet
  Figures probe;                 ///< the newest probe: step, perplexity, sink_ratio, ...; empty: none yet
  double tokens_per_second = 0;  ///< median of the newest 20 logged steps; 0: none yet
  std::string problem;           ///< one line on damage in the file ("...:12: ..."), or empty; the rest is read
};

/// No file: nothing. A last line without its newline is being written, and is no damage.
RunMetrics read_run_metrics(const std::string& file);

}  // namespace spikesink
