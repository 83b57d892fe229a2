#pragma once
#include <cstdint>
#include <string>

// Figures as a person reads them.
namespace spikesink {

/// 1 h 05 min, 3 min 20 s, 12 s
std::string duration_text(double seconds);
/// 1 step, 2 steps
std::string counted(std::int64_t count, const std::string& name);
/// 950, 12.3k, 4.56M
std::string count_text(double count);
/// `value`, but NaN without its sign, which says nothing and which fmt would print.
double readable(double value);

}  // namespace spikesink
