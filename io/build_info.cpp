#include "io/build_info.h"

#include <commit.h>  // made by each build: cmake/Commit.cmake
#include <fmt/format.h>

namespace spikesink {

std::string build_info() {
  return fmt::format("spikesink {}, {}, {}", SPIKESINK_VERSION, SPIKESINK_COMMIT, SPIKESINK_BUILD);
}

}  // namespace spikesink
