#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "configs/sweep_file.h"

namespace spikesink {

struct RowKey {
  std::string_view name, help;
};
inline constexpr std::array kRowKeys = {
    RowKey{"name", "of its runs and files"},
    RowKey{"label", "in tables; absent: the name"},
    RowKey{"config", "in place of base"},
    RowKey{"set", "keys of a config, as in a config"},
    RowKey{"paper", "what the paper found, to stand beside what the runs find; left out of tables with axes"},
};

/// One entry of `rows`, as it is written. Of this part only.
struct WrittenRow {
  Place place;  ///< its part names the row
  std::string name, label;
  std::optional<PaperFigures> paper;
  std::optional<Written> config;
  ConfigLayers set;
};

/// A key and the values that it takes in turn.
struct Axis {
  std::string key;
  Place place;  ///< its part is "grid" or "zip"
  std::vector<Written> values;
};

/// An axis at one of its values.
struct AxisValue {
  const Axis* axis;
  std::size_t index;

  const Written& written() const { return axis->values[index]; }
};

struct Axes {
  std::vector<Axis> zip, grid;

  bool empty() const { return zip.empty() && grid.empty(); }
  std::size_t zip_size() const { return zip.empty() ? 1 : zip.front().values.size(); }
  /// Each combination, zip before grid, the last axis fastest. One without values where there are no axes.
  std::vector<std::vector<AxisValue>> combinations() const;
};

inline constexpr std::size_t kMostRuns = 10000;

std::vector<WrittenRow> read_rows(const SweepFile& file);
Axes read_axes(const SweepFile& file);

/// What each axis is called, zip before grid: the last word of its key, or as many as tell it from the others, with
/// dots.
std::vector<std::string> words_of(const Axes& axes);

/// A value as part of a file name: 8, 3e-4, 0.9_0.95.
std::string name_of_value(const YAML::Node& value);

}  // namespace spikesink
