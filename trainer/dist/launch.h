#pragma once
#include <functional>
#include <string>

namespace spikesink {

/// How the program was started, as the environment tells, before any library is asked: a program that was started
/// alone must not start MPI, which takes time and wants its runtime.
struct Launch {
  int world = 1;         ///< processes; 0: several, the launcher does not say how many
  int rank = 0;          ///< of this process
  std::string launcher;  ///< mpirun, srun; empty where the process was started by itself
  std::string problem;   ///< why the processes cannot know each other, and how they can
};

/// The value of an environment variable, or null.
using Environment = std::function<const char*(const char* name)>;

/// Reads what these set: Open MPI's mpirun (OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_RANK); MPICH's mpirun and srun
/// --mpi=pmi2 (PMI_SIZE, PMI_RANK); srun --mpi=pmix (PMIX_RANK, with SLURM_STEP_NUM_TASKS). The other variables of
/// Slurm stand in every batch script, where a program is alone. UsageError for a variable that is no number.
Launch find_launch(const Environment& environment);

/// Whether standard output is a terminal that somebody looks at: that which a launcher gives its first process leads to
/// a file as often as not.
bool shows_on_terminal();

}  // namespace spikesink
