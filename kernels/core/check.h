#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace spikesink {

/// A caller broke a contract that a header states: a fault of our own, never reachable by a user's input.
struct ContractError : std::logic_error {
  using std::logic_error::logic_error;
};

/// Throws ContractError with the streamed parts as its message unless `holds`.
template <class... Parts>
void require(bool holds, const Parts&... parts) {
  if (holds) [[likely]]
    return;
  std::ostringstream message;
  (message << ... << parts);
  throw ContractError(message.str());
}

}  // namespace spikesink
