#pragma once
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace spikesink {

// Values as YAML that reads back the same, on one line. Of this part only.

std::string text_of(const std::string& value);  ///< in quotes where it needs them
std::string text_of(bool value);
std::string text_of(std::int64_t value);
std::string text_of(double value);  ///< the shortest

template <class T>
requires std::is_enum_v<T> std::string text_of(T value) {
  return std::string(names_of(value)[static_cast<std::size_t>(value)]);
}

template <class T>
std::string text_of(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? ", " : "") + text_of(value);
  return text + "]";
}

}  // namespace spikesink
