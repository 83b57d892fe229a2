#pragma once
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

namespace spikesink::cli {

/// For CLI::Option::check(): empty if `text` is a whole number in a range, else what is wrong.
inline std::string whole_number(const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc{} && rest == text.data() + text.size() && value >= least && value <= most;
  return good ? "" : text + ", must be a whole number from " + std::to_string(least) + " to " + std::to_string(most);
}
inline std::string at_least_one(const std::string& text) {
  return whole_number(text, 1, std::numeric_limits<std::int64_t>::max()).empty()
             ? ""
             : text + ", must be a whole number of at least 1";
}
/// The same for tokens of a sequence whose attention is measured: the only one of one token has no choice.
inline std::string at_least_two(const std::string& text) {
  return whole_number(text, 2, std::numeric_limits<std::int64_t>::max()).empty()
             ? ""
             : text + ", must be a whole number of at least 2";
}
/// The same for threads, of which systems start no more.
inline std::string some_threads(const std::string& text) { return whole_number(text, 1, 1024); }

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
