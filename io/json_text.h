#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace spikesink {

/// JSON as text. What is no UTF-8, as names of files need not be, is written as U+FFFD.
template <class Json>
std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace spikesink
