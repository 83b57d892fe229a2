#include "sweeps/hparams.h"

#include <algorithm>

#include "configs/hyperparameters.h"
#include "io/hparams.h"

namespace spikesink {
namespace {

std::vector<MetricColumn> metrics() {
  return {{"probe/sink_ratio", "sink ratio"},
          {"probe/spike_max", "largest spike"},
          {"probe/perplexity", "perplexity"},
          {"train/loss", "training loss", false}};
}

}  // namespace

std::vector<HyperparameterColumn> varying_hyperparameters(const Sweep& sweep) {
  std::vector<Hyperparameters> runs;
  for (const SweepRow& row : sweep.rows)
    for (const SweepRun& run : row.runs) runs.push_back(hyperparameters_of(run.config));
  std::vector<HyperparameterColumn> columns;
  for (const std::string& name : hyperparameter_names()) {
    HyperparameterColumn column{.name = name, .values = {}};
    std::size_t have = 0;
    for (const Hyperparameters& run : runs) {
      const auto at = std::ranges::find(run, name, &Hyperparameter::name);
      if (at == run.end()) continue;
      ++have;
      if (std::ranges::count(column.values, at->value) == 0) column.values.push_back(at->value);
    }
    if (column.values.size() > 1 || (have > 0 && have < runs.size())) columns.push_back(std::move(column));
  }
  return columns;
}

void write_sweep_hparams(const Sweep& sweep, const SweepFolder& folder) {
  write_experiment(folder.path(), varying_hyperparameters(sweep), metrics());
}

}  // namespace spikesink
