#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "configs/sweep.h"
#include "sweeps/sweep_folder.h"

namespace spikesink {

/// A figure over the seeds whose runs are finished.
struct OverSeeds {
  int count = 0;
  double mean = 0;
  double deviation = 0;  ///< of the sample; 0 for one seed
};

/// Whether a figure lies to the same side of the baseline's as in the paper.
enum class Direction { kNone, kAgrees, kDiffers, kUnclear };

struct CollectedFigure {
  std::string name;  ///< as in a probe: perplexity, sink_ratio, first_token_mass, spike_max, spike_ratio
  OverSeeds ours;
  std::optional<double> paper;
  Direction direction = Direction::kNone;
};
struct CollectedRow {
  std::string name, label;
  std::size_t seeds = 0;  ///< asked for
  std::vector<CollectedFigure> figures;
};
struct CollectedSweep {
  std::string title, baseline;
  std::vector<CollectedRow> rows;
  std::vector<std::string> notes;  ///< a line for each run that is not there, not done or damaged
};

/// The final probe of every finished run. A run that cannot be read is a note, and the rest goes on.
CollectedSweep collect(const Sweep& sweep, const SweepFolder& folder);

std::string markdown_of(const CollectedSweep& sweep);
std::string csv_of(const CollectedSweep& sweep);
std::string latex_of(const CollectedSweep& sweep);
std::string json_of(const CollectedSweep& sweep);  ///< what scripts/report.py reads

}  // namespace spikesink
