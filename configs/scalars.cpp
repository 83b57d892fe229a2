#include "configs/scalars.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <system_error>

namespace spikesink {
namespace {

template <class T>
std::optional<T> parse_all(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<bool> parse_bool(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return std::nullopt;
}

std::optional<std::int64_t> parse_integer(const std::string& text) {
  if (const auto value = parse_all<std::int64_t>(text)) return value;
  constexpr double kExact = 9007199254740992;  // 2^53: every whole number up to it is a double
  const auto value = parse_number(text);
  if (!value || *value != std::floor(*value) || std::abs(*value) > kExact) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

std::optional<double> parse_number(const std::string& text) {
  const auto value = parse_all<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::string quoted(const std::string& text) {
  constexpr std::size_t kLongest = 60;
  const std::string part = text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
  return nlohmann::json(part).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace spikesink
