#include "sweeps/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <filesystem>
#include <map>

#include "configs/reader.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "models/cost.h"
#include "sweeps/prepare.h"

namespace spikesink {
namespace {
constexpr double kSinksEnough = 0.1;  // of the baseline, for the sink ratio to be judged by

/// first_token_mass of uniform causal attention, from the second query on.
double uniform_mass(std::int64_t length) {
  double harmonic = 0;
  for (std::int64_t t = 1; t <= length; ++t) harmonic += 1 / static_cast<double>(t);
  return (harmonic - 1) / static_cast<double>(length - 1);
}

void add_sink_excess(Figures& figures, const Config& config) {
  const std::int64_t length = std::min(config.metrics.probe.sink_length, config.model.context);
  const auto mass = figures.find("first_token_mass");
  if (mass == figures.end() || length < 2) return;
  const double uniform = uniform_mass(length);
  figures["sink_excess"] = (mass->second - uniform) / (1 - uniform);
}

/// What a figure is printed with, in its own unit.
double step_of(std::string_view name) { return name == "perplexity" || name.starts_with("spike") ? 0.1 : 0.001; }
double paper_step_of(std::string_view name) { return name == "spike_max" ? 1 : step_of(name); }

std::optional<double> paper_of(const SweepRow& row, std::string_view name) {
  if (!row.paper) return {};
  if (name == "perplexity") return row.paper->perplexity;
  if (name == "spike_max") return row.paper->spike;
  if (name != "sink_ratio" || !row.paper->sink_ratio) return {};
  return std::round(*row.paper->sink_ratio * 1e6) / 1e8;  // 44.7 is 0.447, with no digits more
}

/// Reads the runs, and gathers what there is to say of them.
class Collector {
 public:
  Collector(const Sweep& sweep, const SweepFolder& folder) : sweep_(sweep), folder_(folder) {}

  CollectedSweep collect() {
    CollectedSweep out{.name = sweep_.name, .title = sweep_.title, .baseline = sweep_.baseline};
    for (const SweepRow& row : sweep_.rows) out.rows.push_back(row_of(row));
    out.scale = scale_;
    out.notes = notes_;
    for (const auto& [changes, runs] : changes_)
      out.notes.push_back(fmt::format("{}{}: run with another config than the sweep file's, was -> is: {}",
                                      runs.front(), runs.size() > 1 ? fmt::format(" and {} more", runs.size() - 1) : "",
                                      changes));
    return out;
  }

 private:
  CollectedRow row_of(const SweepRow& row) {
    CollectedRow out{.name = row.name, .label = row.label, .axes = row.axes, .seeds = row.runs.size()};
    if (!row.refusal.empty()) notes_.push_back(row.refusal);
    for (const SweepRun& run : row.runs) {
      const std::size_t notes = notes_.size();
      try {
        const Config config = config_of(run);
        if (row.name == sweep_.baseline && scale_.parameters == 0) scale_ = scale_of(config);
        if (auto figures = final_probe(run, config)) out.runs.push_back({run.name, run.seed, std::move(*figures)});
      } catch (const std::exception& error) {
        notes_.resize(notes);
        notes_.push_back(fmt::format("{}: cannot be read: {}; left out", run.name, error.what()));
      }
    }
    for (const std::string_view name : kCollected) {
      std::vector<double> values;
      for (const CollectedRun& run : out.runs)
        if (const auto figure = run.figures.find(name); figure != run.figures.end()) values.push_back(figure->second);
      out.figures.push_back({std::string(name), over_seeds(values), paper_of(row, name)});
    }
    return out;
  }

  /// The config that the run had, where it had one: the sweep file may have changed since, or had other overrides.
  Config config_of(const SweepRun& run) {
    std::string file = folder_.run(run.name).config();
    if (!std::filesystem::exists(file)) file = folder_.config(run.name);
    if (!std::filesystem::exists(file)) return run.config;
    Config config = read_config(file);
    const std::vector<std::string> changes = changes_of_run(config, run.config);
    if (!changes.empty()) changes_[fmt::format("{}", fmt::join(changes, ", "))].push_back(run.name);
    return config;
  }

  static CollectedScale scale_of(const Config& config) {
    const std::int64_t context = config.model.context;
    return {cost_of(config.model, config.train.loss_from_position).parameters(),
            config.train.total_steps(context) * config.train.sequences(context) * context, context};
  }

  std::optional<Figures> final_probe(const SweepRun& run, const Config& config) {
    const std::string file = folder_.run(run.name).metrics();
    const std::int64_t total = config.train.total_steps(config.model.context);
    if (!std::filesystem::exists(file)) {
      notes_.push_back(fmt::format("{}: has not started; left out", run.name));
      return {};
    }
    RunMetrics metrics = read_run_metrics(file);
    if (!metrics.problem.empty()) notes_.push_back(fmt::format("{}: {}", run.name, metrics.problem));
    const auto step = [](const Figures& figures) {
      const auto found = figures.find("step");
      return found == figures.end() ? -1 : static_cast<std::int64_t>(found->second);
    };
    if (step(metrics.probe) < total) {
      const std::int64_t reached = std::max({step(metrics.step), step(metrics.probe), std::int64_t{0}});
      notes_.push_back(reached < total
                           ? fmt::format("{}: at step {} of {}; left out", run.name, reached, total)
                           : fmt::format("{}: has no probe of its last step, {}; left out", run.name, total));
      return {};
    }
    std::erase_if(metrics.probe, [](const auto& figure) { return !std::isfinite(figure.second); });
    add_sink_excess(metrics.probe, config);
    for (const std::string_view name : kCollected)
      if (!metrics.probe.contains(name) && name != "sink_excess")
        notes_.push_back(fmt::format("{}: {} of its last probe is not finite; left out", run.name, name));
    return std::move(metrics.probe);
  }

  const Sweep& sweep_;
  const SweepFolder& folder_;
  CollectedScale scale_;
  std::vector<std::string> notes_;
  std::map<std::string, std::vector<std::string>> changes_;  // and the runs that have them
};

/// Holds every row against the baseline.
void judge(CollectedSweep& sweep) {
  const auto baseline = std::ranges::find(sweep.rows, sweep.baseline, &CollectedRow::name);
  if (baseline == sweep.rows.end() || baseline->runs.empty()) {
    sweep.notes.push_back(
        fmt::format("{}: no run of the baseline is finished, so there are no directions", sweep.baseline));
    return;
  }
  const bool enough = baseline->figure("sink_ratio").ours.mean >= kSinksEnough;
  sweep.sink_judged_by = enough ? "sink_ratio" : "sink_excess";
  for (CollectedRow& row : sweep.rows) {
    if (row.name == sweep.baseline) continue;
    for (CollectedFigure& figure : row.figures) {
      const std::string& measure = figure.name == "sink_ratio" ? sweep.sink_judged_by : figure.name;
      const auto ours = [&](const CollectedRow& of) {
        OverSeeds o = of.figure(measure).ours;
        if (measure == "sink_excess")
          o.mean = std::max(o.mean, 0.0);  // below uniform is no less of a sink than uniform
        return o;
      };
      figure.direction = direction_of({.row = ours(row),
                                       .baseline = ours(*baseline),
                                       .step = step_of(measure),
                                       .paper_row = figure.paper,
                                       .paper_baseline = baseline->figure(figure.name).paper,
                                       .paper_step = paper_step_of(figure.name)});
    }
  }
}
}  // namespace

const CollectedFigure& CollectedRow::figure(std::string_view of) const {
  return *std::ranges::find(figures, of, &CollectedFigure::name);
}

CollectedSweep collect(const Sweep& sweep, const SweepFolder& folder) {
  CollectedSweep collected = Collector(sweep, folder).collect();
  judge(collected);
  return collected;
}

void write_tables(const CollectedSweep& sweep, const SweepFolder& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder.tables(), error);
  if (error) throw DataError(folder.tables() + ": cannot be made: " + error.message());
  write_atomically(folder.tables() + "/table.md", markdown_of(sweep));
  write_atomically(folder.tables() + "/table.csv", csv_of(sweep));
  write_atomically(folder.tables() + "/table.tex", latex_of(sweep));
  write_atomically(folder.tables() + "/table.json", json_of(sweep));
}

}  // namespace spikesink
