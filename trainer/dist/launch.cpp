#include "trainer/dist/launch.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "io/failure.h"

namespace spikesink {
namespace {

std::optional<int> number(const Environment& environment, const char* name) {
  const char* const found = environment(name);
  if (found == nullptr) return std::nullopt;
  const std::string_view text = found;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0)
    throw UsageError(std::string(name) + ": " + found +
                     ": not a number of processes; the environment is not that of mpirun or srun: unset it");
  return value;
}

}  // namespace

Launch find_launch(const Environment& environment) {
  if (const auto world = number(environment, "OMPI_COMM_WORLD_SIZE"))
    return {.world = *world, .rank = number(environment, "OMPI_COMM_WORLD_RANK").value_or(0), .launcher = "mpirun"};
  const auto tasks = number(environment, "SLURM_STEP_NUM_TASKS");
  const char* const launcher = tasks ? "srun" : "mpirun";
  if (const auto world = number(environment, "PMI_SIZE"))
    return {.world = *world, .rank = number(environment, "PMI_RANK").value_or(0), .launcher = launcher};
  if (const auto rank = number(environment, "PMIX_RANK"))
    return {.world = tasks.value_or(0), .rank = *rank, .launcher = launcher};
  if (tasks.value_or(1) > 1)
    return {.world = *tasks,
            .rank = number(environment, "SLURM_PROCID").value_or(0),
            .launcher = "srun",
            .problem = "which do not know of each other; give it --mpi=pmix, or start them by mpirun"};
  return {};
}

bool shows_on_terminal() { return isatty(STDOUT_FILENO) != 0 && find_launch(std::getenv).launcher.empty(); }

}  // namespace spikesink
