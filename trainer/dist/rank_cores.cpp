#include "trainer/dist/rank_cores.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "trainer/dist/agree.h"

namespace spikesink {

int threads_of(std::span<const RankCores> all, int rank) {
  const RankCores& mine = all[static_cast<std::size_t>(rank)];
  const auto sharing = std::ranges::count_if(all, [&](const RankCores& other) {
    cpu_set_t both;
    CPU_AND(&both, &mine.cores, &other.cores);
    return other.node == mine.node && CPU_COUNT(&both) > 0;
  });
  return sharing <= 1 ? 0 : std::max(1, CPU_COUNT(&mine.cores) / static_cast<int>(sharing));
}

namespace {
std::vector<RankCores> cores_of_all(const Ranks& ranks) {
  RankCores mine;
  gethostname(mine.node.data(), mine.node.size() - 1);
  if (sched_getaffinity(0, sizeof mine.cores, &mine.cores) != 0) CPU_ZERO(&mine.cores);
  return gather(*ranks.communicator(), mine);
}
}  // namespace

int threads_of_rank(const Ranks& ranks) {
  const auto all = cores_of_all(ranks);
  return std::getenv("OMP_NUM_THREADS") != nullptr ? 0 : threads_of(all, ranks.rank());
}

int cores_of_rank(const Ranks& ranks) {
  const auto all = cores_of_all(ranks);
  const int shared = threads_of(all, ranks.rank());
  return shared > 0 ? shared : std::max(1, CPU_COUNT(&all[static_cast<std::size_t>(ranks.rank())].cores));
}

}  // namespace spikesink
