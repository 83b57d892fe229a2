#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace spikesink {

// What the text of a YAML scalar means; nothing if it is not of that type.

std::optional<bool> parse_bool(const std::string& text);        ///< true | false
std::optional<std::int64_t> parse_integer(const std::string&);  ///< 12, -3, and whole numbers such as 1e4 up to 2^53
std::optional<double> parse_number(const std::string& text);    ///< finite: 1, 0.5, 3e-4, 100e9

/// `text` in double quotes on one line, shortened if long: for messages.
std::string quoted(const std::string& text);

}  // namespace spikesink
