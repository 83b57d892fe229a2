#pragma once
#include <sched.h>

#include <array>
#include <span>

#include "trainer/dist/ranks.h"

namespace spikesink {

/// Where a rank may run.
struct RankCores {
  std::array<char, 64> node = {};
  cpu_set_t cores = {};
};

/// CPU threads of rank `rank`: its cores, shared with the ranks of its node that may run on some of them; at least one.
/// 0 where it has them for itself, or nothing is known of them: as many as OpenMP takes.
int threads_of(std::span<const RankCores> all, int rank);

/// The same of this rank. All ranks call. Where OMP_NUM_THREADS is set, 0.
int threads_of_rank(const Ranks& ranks);

/// Cores that this rank may count as its own: those it may run on, shared likewise; at least one. All ranks call.
int cores_of_rank(const Ranks& ranks);

}  // namespace spikesink
