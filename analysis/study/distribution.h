#pragma once
#include <nlohmann/json.hpp>
#include <vector>

namespace spikesink {

/// Mean, quartiles and extremes, for a summary: {"mean", "min", "q1", "median", "q3", "max"}; quartiles between two
/// values are interpolated linearly (Hyndman and Fan 1996, type 7, as NumPy's). Of no values, or with a
/// NaN among them, all are null.
nlohmann::ordered_json distribution(std::vector<double> values);

/// Of no values NaN, which JSON writes as null.
double mean_of(const std::vector<double>& values);

}  // namespace spikesink
