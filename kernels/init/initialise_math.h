#pragma once
#include <cmath>

#include "kernels/core/random.h"

namespace spikesink::kernels::math {

/// The first of draws 4 i, 4 i + 1, ... within 3 sigma; four fail with a probability of 5e-11, and then the last is
/// clipped.
SPIKESINK_HD inline double truncated_normal(const Random& random, std::uint64_t element) {
  double z = 0;
  for (std::uint64_t attempt = 0; attempt < 4; ++attempt) {
    z = random.normal(4 * element + attempt);
    if (z >= -3 && z <= 3) return z;
  }
  return z < 0 ? -3 : 3;
}

}  // namespace spikesink::kernels::math
