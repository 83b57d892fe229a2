#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "configs/sweep.h"
#include "sweeps/direction.h"
#include "sweeps/run_metrics.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

struct CollectedFigure {
  std::string name;  ///< one of kCollected
  OverSeeds ours;
  std::optional<double> paper;  ///< in the unit of ours: a sink ratio is a fraction, 0.46
  Direction direction = Direction::kNone;
};

/// What is collected of a probe, in this order. The first three are the paper's. sink_excess is first_token_mass above
/// that of uniform attention, (first_token_mass - u) / (1 - u), where u = (H_T - 1) / (T - 1) and
/// T = min(sink_length, context): 0 for an untrained model, 1 where all attention is on the first token.
inline constexpr std::string_view kCollected[] = {"perplexity",       "sink_ratio",  "spike_max",
                                                  "first_token_mass", "sink_excess", "spike_ratio"};

/// A finished run: its last probe, less what was not finite.
struct CollectedRun {
  std::string name;
  std::int64_t seed = 0;
  Figures figures;
};
struct CollectedRow {
  std::string name, label;
  std::vector<std::pair<std::string, std::string>> axes;
  std::size_t seeds = 0;  ///< asked for
  std::vector<CollectedRun> runs;
  std::vector<CollectedFigure> figures;  ///< of all kCollected

  const CollectedFigure& figure(std::string_view name) const;
};
/// Of the baseline, as it was run.
struct CollectedScale {
  std::int64_t parameters = 0, tokens = 0, context = 0;
};
struct CollectedSweep {
  std::string name, title;
  std::string baseline;  ///< a row's name
  /// What sinks are judged by: sink_ratio, or sink_excess where the baseline's sink ratio is below 0.1, as those of
  /// small models are: mass gathers on the first token long before a head gives it 0.3. Empty: no baseline is finished.
  std::string sink_judged_by;
  CollectedScale scale;
  std::vector<CollectedRow> rows;
  std::vector<std::string> notes;  ///< a line for each run that is not there, not done or damaged
};

/// The final probe of every finished run: one at the last step of the config that the run had (its config.yaml, else
/// configs/RUN.yaml, else that of the sweep). A run that cannot be read is a note, and the rest goes on.
CollectedSweep collect(const Sweep& sweep, const SweepFolder& folder);

// The table in the form of the paper's; docs/file-formats.md has the columns of CSV and the keys of JSON.
std::string markdown_of(const CollectedSweep& sweep);
std::string csv_of(const CollectedSweep& sweep);
std::string latex_of(const CollectedSweep& sweep);
std::string json_of(const CollectedSweep& sweep);

/// Writes table.md, table.csv, table.tex and table.json to SweepFolder::tables(). DataError if that cannot be.
void write_tables(const CollectedSweep& sweep, const SweepFolder& folder);

}  // namespace spikesink
