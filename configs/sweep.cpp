#include "configs/sweep.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "configs/sweep_rows.h"
#include "io/failure.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

/// Puts the rows of a sweep together.
class RowBuilder {
 public:
  RowBuilder(const std::string& file, const SweepFile& written, const SweepKeys& keys)
      : file_(file), written_(written), keys_(keys), rows_(read_rows(written)), axes_(read_axes(written)) {}

  std::vector<SweepRow> build();

 private:
  void check() const;
  void check_set(const ConfigLayers& set) const;
  SweepRow row_of(const WrittenRow* row, const std::vector<AxisValue>& values);
  Config config_of(const WrittenRow* row, const std::vector<AxisValue>& values, const std::string& name);
  const ConfigLayers& file_of(const WrittenRow* row, const std::string& name);
  void check_used() const;

  const std::string& file_;
  const SweepFile& written_;
  const SweepKeys& keys_;
  std::vector<WrittenRow> rows_;
  Axes axes_;
  std::vector<std::string> words_ = words_of(axes_);
  std::map<std::string, ConfigLayers> files_;        // configs that were read
  std::set<std::string> used_set_, used_overrides_;  // keys that count in some row
  std::map<std::string, std::string> why_unused_;    // the reason that the last row had
};

std::vector<SweepRow> RowBuilder::build() {
  check();
  std::vector<const WrittenRow*> rows;
  for (const WrittenRow& row : rows_) rows.push_back(&row);
  if (rows.empty()) rows.push_back(nullptr);  // axes alone

  std::vector<SweepRow> built;
  std::map<std::string, Place> seen;
  for (const WrittenRow* row : rows)
    for (const auto& values : axes_.combinations()) {
      built.push_back(row_of(row, values));
      Place place = row != nullptr ? row->place : values.front().written().place;
      place.part = "row " + built.back().name;
      const auto [first, is_new] = seen.emplace(built.back().name, place);
      if (!is_new)
        refuse(place.text() +
               fmt::format(": another row has this name, at {}; give each a name of its own", first->second.at()));
    }
  // What is wrong with every row is wrong with the sweep.
  if (std::ranges::none_of(built, &std::string::empty, &SweepRow::refusal)) refuse(built.front().refusal);
  if (std::ranges::all_of(built, &std::string::empty, &SweepRow::refusal)) check_used();
  return built;
}

void RowBuilder::check() const {
  if (rows_.empty() && axes_.empty())
    refuse(file_ + ": has neither rows nor axes; give one, e.g. grid: {model.attention.d_head: [8, 16]}");
  std::size_t runs = std::max<std::size_t>(rows_.size(), 1) * std::max<std::size_t>(keys_.seeds.size(), 1);
  const auto multiply = [&](std::size_t count) {
    runs *= count;
    if (runs > kMostRuns) refuse(fmt::format("{}: more than {} runs: rows, axes and seeds multiply", file_, kMostRuns));
  };
  multiply(axes_.zip_size());
  for (const Axis& axis : axes_.grid) multiply(axis.values.size());

  check_set(written_.set());
  check_set(written_.overrides());
  for (const WrittenRow& row : rows_) check_set(row.set);
  for (const auto* axes : {&axes_.zip, &axes_.grid})
    for (const Axis& axis : *axes) {
      ConfigLayers probe;
      probe.add_key(axis.key, axis.values.front().value, axis.place);
      check_set(probe);
      for (const WrittenRow& row : rows_)
        if (const Written* also = row.set.find(axis.key))
          refuse(also->place, axis.key, fmt::format("is an axis too ({}); keep one", axis.place.at()));
      if (const Written* also = written_.overrides().find(axis.key))
        refuse(also->place, axis.key,
               fmt::format("is an axis of the sweep ({}); give --set '{}={{...}}' for other values", axis.place.at(),
                           axis.place.part));
    }
}

/// What the sweep itself decides cannot be set.
void RowBuilder::check_set(const ConfigLayers& set) const {
  for (const char* key : {"run.name", "run.dir"})
    if (const Written* written = set.find(key))
      refuse(written->place, key, "has no effect: a sweep's runs are called by its dir, name and rows; remove it");
  const Written *seed = set.find("run.seed"), *seeds = written_.find("seeds");
  if (seed != nullptr && !keys_.seeds.empty())
    refuse(seed->place, "run.seed", fmt::format("has no effect beside seeds ({}); keep one", seeds->place.at()));
}

SweepRow RowBuilder::row_of(const WrittenRow* row, const std::vector<AxisValue>& values) {
  SweepRow built;
  if (row != nullptr) built.name = row->name, built.label = row->label;
  if (row != nullptr && values.empty()) built.paper = row->paper;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& [value, place] = values[i].written();
    std::string word = words_[i];
    built.label += fmt::format("{}{} {}", built.label.empty() ? "" : ", ", word, flow_of(value));
    std::replace(word.begin(), word.end(), '.', '_');
    built.name += fmt::format("{}{}_{}", built.name.empty() ? "" : "_", word, name_of_value(value));
    built.axes.emplace_back(values[i].axis->key, flow_of(value));
    if (!is_file_name(built.name))
      refuse(place, values[i].axis->key, fmt::format("row name {} {}", spikesink::quoted(built.name), kFileNameRule));
  }

  Config config;
  try {
    config = config_of(row, values, built.name);
  } catch (const UsageError& error) {
    built.refusal = error.what();
    return built;
  }
  config.run.dir = keys_.dir.value_or(Sweep{}.dir) + "/" + *keys_.name + "/runs";
  const auto add_run = [&](const std::string& name, std::int64_t seed) {
    config.run.name = name;
    config.run.seed = seed;
    built.runs.push_back({name, seed, config});
  };
  if (keys_.seeds.empty()) add_run(built.name, config.run.seed);
  for (const std::int64_t seed : keys_.seeds) add_run(fmt::format("{}_seed{}", built.name, seed), seed);
  return built;
}

Config RowBuilder::config_of(const WrittenRow* row, const std::vector<AxisValue>& values, const std::string& name) {
  const std::string part = "row " + name;
  ConfigLayers own;  // what this row says, which must have an effect
  own.inherit(file_of(row, name));
  own.inherit(written_.set());
  const auto add = [&](const std::string& key, Written written) {
    written.place.part = part;
    own.add_key(key, written.value, written.place);
  };
  if (row != nullptr)
    for (const std::string& key : row->set.keys()) add(key, *row->set.find(key));
  for (const AxisValue& value : values) add(value.axis->key, value.written());
  own.settle();

  ConfigLayers all;
  all.inherit(own);
  all.inherit(written_.overrides());
  all.settle();

  const auto note_used = [&](const ConfigLayers& layer, const ConfigLayers& result, std::set<std::string>& used) {
    for (const std::string& key : layer.keys()) {
      const Written* found = result.find(key);
      if (found != nullptr && found->value.is(layer.find(key)->value))
        used.insert(key);
      else
        why_unused_[key] = result.dropped(key);
    }
  };
  note_used(written_.set(), own, used_set_);
  note_used(written_.overrides(), all, used_overrides_);
  return all.finish(file_, part);
}

const ConfigLayers& RowBuilder::file_of(const WrittenRow* row, const std::string& name) {
  const Written* named = row != nullptr && row->config ? &*row->config : written_.find("base");
  const bool is_base = row == nullptr || !row->config;
  if (named == nullptr) {
    if (row == nullptr) refuse(file_ + ": base: is missing; name the config whose keys the axes change");
    refuse(row->place, "config", "is missing, and the sweep has no base; give one of them");
  }
  const Written* folder = written_.find("configs");
  const fs::path base = folder == nullptr ? named->place.folder() : folder->place.folder() / *keys_.configs;
  const std::string file = (base / named->value.Scalar()).lexically_normal().string();
  const auto [at, is_new] = files_.try_emplace(file);
  if (is_new) {
    Place place = named->place;
    if (!is_base) place.part = "row " + name;
    std::string relative_to = place.line > 0 ? "file that names it" : "current folder";
    if (folder != nullptr) relative_to = fmt::format("folder that configs names ({})", folder->place.at());
    at->second.add_file(file, Mention{place, is_base ? "base" : "config", relative_to});
  }
  return at->second;
}

/// A key that no row makes use of is a mistake; not so if it comes from a sweep that this one extends.
void RowBuilder::check_used() const {
  const auto check = [&](const ConfigLayers& layer, const std::set<std::string>& used) {
    for (const std::string& key : layer.keys()) {
      const Place& place = layer.find(key)->place;
      if (used.count(key) > 0 || (place.line > 0 && place.source != file_)) continue;
      const std::string& why = why_unused_.at(key);
      refuse(place, key, fmt::format("counts in no row: {}; remove it", why.empty() ? "each says otherwise" : why));
    }
  };
  check(written_.set(), used_set_);
  check(written_.overrides(), used_overrides_);
}

}  // namespace

Sweep read_sweep(const std::string& file, const std::vector<std::string>& overrides) {
  SweepFile written;
  written.add_file(file);
  written.add_overrides(overrides);
  SweepKeys keys = written.keys();
  if (!keys.name) {
    keys.name = fs::path(file).stem().string();
    if (!is_file_name(*keys.name))
      refuse(fmt::format("{}: name: is missing, and {} {}", file, spikesink::quoted(*keys.name), kFileNameRule));
  }

  Sweep sweep;
  sweep.file = file;
  sweep.name = *keys.name;
  if (keys.dir) sweep.dir = *keys.dir;
  sweep.title = keys.title.value_or(sweep.name);
  sweep.local = keys.local;
  sweep.slurm = keys.slurm;
  if (sweep.slurm.gpus_per_node == 0) sweep.slurm.gpus_per_node.reset();
  if (sweep.slurm.script_template)
    sweep.slurm.script_template =
        (written.find("slurm.template")->place.folder() / *sweep.slurm.script_template).lexically_normal().string();
  sweep.rows = RowBuilder(file, written, keys).build();

  sweep.baseline = keys.baseline.value_or(sweep.rows.front().name);
  std::vector<std::string_view> names;
  for (const SweepRow& row : sweep.rows) names.push_back(row.name);
  if (std::find(names.begin(), names.end(), sweep.baseline) == names.end()) {
    const std::string_view near = nearest(sweep.baseline, names);
    refuse(written.find("baseline")->place, "baseline",
           fmt::format("no row is called {}; {}", spikesink::quoted(sweep.baseline),
                       near.empty() ? fmt::format("the first row is {}", names.front())
                                    : fmt::format("did you mean {}?", near)));
  }
  return sweep;
}

}  // namespace spikesink
