#pragma once
#include <fmt/format.h>

#include <concepts>
#include <nlohmann/json.hpp>
#include <utility>

namespace spikesink {

/// The integer that a JSON value is. nlohmann's own conversion cuts off what does not fit, and is undefined for numbers
/// such as 1e300. Throws nlohmann's exceptions: for another type, a fraction, or an integer that T cannot hold.
template <std::integral T, class Json>
T integer_of(const Json& json) {
  const auto refuse = [&] {
    throw nlohmann::detail::out_of_range::create(
        406, fmt::format("{} is no integer of {} bytes", json.dump(), sizeof(T)), &json);
  };
  if (!json.is_number_integer()) {
    if (json.is_number()) refuse();
    return json.template get<T>();  // which says what it is
  }
  if (json.is_number_unsigned() ? !std::in_range<T>(json.template get<std::uint64_t>())
                                : !std::in_range<T>(json.template get<std::int64_t>()))
    refuse();
  return json.template get<T>();
}

}  // namespace spikesink
