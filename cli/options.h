#pragma once
#include <charconv>
#include <cstdlib>
#include <string>

namespace spikesink::cli {

/// For CLI::Option::check(): empty if `text` is a whole number from 1 on, else what is wrong.
inline std::string at_least_one(const std::string& text) {
  long long value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && rest == text.data() + text.size();
  return whole && value >= 1 ? std::string() : text + ", must be a whole number of at least 1";
}

/// The same for a share in [0, 1).
inline std::string share_below_one(const std::string& text) {
  char* rest = nullptr;
  const double value = std::strtod(text.c_str(), &rest);
  return *rest == '\0' && !text.empty() && value >= 0 && value < 1 ? "" : text + ", must lie in [0, 1)";
}

}  // namespace spikesink::cli
