#pragma once
#include <string>

namespace spikesink {

std::string host_name();  ///< this machine's; "localhost" where it has none

}  // namespace spikesink
