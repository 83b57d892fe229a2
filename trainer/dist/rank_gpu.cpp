#include "trainer/dist/rank_gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/core/gpu.h"
#include "trainer/dist/agree.h"
#include "trainer/dist/ranks.h"

namespace spikesink {
namespace {

struct Place {
  std::array<char, 16> gpu = {};
  int num_gpus = 0;   ///< that the rank sees
  int num_ranks = 0;  ///< of its node
};

}  // namespace

int gpu_of_rank(const Ranks& ranks) {
  int index = 0;
  if constexpr (kHasCuda) {
    if (ranks.world() == 1) return 0;
    Place mine{.num_gpus = gpu::num_devices(), .num_ranks = ranks.local_world()};
    index = mine.num_gpus > 0 ? ranks.local_rank() % mine.num_gpus : 0;
    std::ranges::copy(gpu::identity(index), mine.gpu.begin());
    const std::vector<Place> all = gather(*ranks.communicator(), mine);
    for (std::size_t a = 0; a < all.size(); ++a)
      for (std::size_t b = 0; b < a; ++b)
        if (all[a].num_gpus > 0 && all[a].gpu == all[b].gpu)
          throw UsageError(fmt::format(
              "system.device: cuda, but rank {} and rank {} would share a GPU: of their node {} ranks see {} GPU{}; "
              "start at most as many ranks on a node as it has GPUs",
              b, a, all[a].num_ranks, all[a].num_gpus, all[a].num_gpus == 1 ? "" : "s"));
  }
  return index;
}

}  // namespace spikesink
