#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>

#include "data/config.h"

namespace spikesink::cli {

/// For CLI::Option::check(): empty if `text` is a whole number in a range, else what is wrong.
inline std::string whole_number(const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc{} && rest == text.data() + text.size() && value >= least && value <= most;
  return good ? "" : fmt::format("{}, must be a whole number from {} to {}", text, least, most);
}
/// The same for one without an upper bound. Of a sequence whose attention is measured at least 2 tokens: one alone has
/// no choice.
template <std::int64_t least>
std::string at_least(const std::string& text) {
  return whole_number(text, least, std::numeric_limits<std::int64_t>::max()).empty()
             ? ""
             : fmt::format("{}, must be a whole number of at least {}", text, least);
}
/// The same for threads.
inline std::string some_threads(const std::string& text) { return whole_number(text, 1, kMostThreads); }
/// As many as are `named`; 0: as the machine has cores.
inline int threads_or_cores(int named) {
  return named > 0 ? named : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

/// The same for a finite number above 0.
inline std::string above_zero(const std::string& text) {
  char* rest = nullptr;
  const double value = std::strtod(text.c_str(), &rest);
  return *rest == '\0' && !text.empty() && value > 0 && std::isfinite(value) ? "" : text + ", must be a number above 0";
}

/// The same for a share in [0, 1).
inline std::string share_below_one(const std::string& text) {
  char* rest = nullptr;
  const double value = std::strtod(text.c_str(), &rest);
  return *rest == '\0' && !text.empty() && value >= 0 && value < 1 ? "" : text + ", must lie in [0, 1)";
}

}  // namespace spikesink::cli
