#include "trainer/dist/launch.h"

#include <catch2/catch.hpp>
#include <map>

#include "io/failure.h"

using namespace spikesink;

namespace {
Launch launched(const std::map<std::string, std::string>& variables) {
  return find_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}
}  // namespace

TEST_CASE("a program that no launcher started is alone, in a batch script too", "[dist]") {
  const auto launch =
      GENERATE(launched({}), launched({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "7"}}),
               launched({{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}}));
  CHECK(launch.world == 1);
  CHECK(launch.rank == 0);
  CHECK(launch.problem.empty());
}

TEST_CASE("each launcher's variables are read", "[dist]") {
  struct Case {
    std::map<std::string, std::string> variables;
    Launch want;
  };
  const auto c = GENERATE(values<Case>({
      {{{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}}, {4, 3, "mpirun", ""}},
      {{{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}, {"SLURM_STEP_NUM_TASKS", "1"}},
       {2, 1, "mpirun", ""}},  // mpirun in a batch script starts its daemons by srun
      {{{"PMI_SIZE", "4"}, {"PMI_RANK", "2"}}, {4, 2, "mpirun", ""}},
      {{{"PMI_SIZE", "4"}, {"PMI_RANK", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}}, {4, 2, "srun", ""}},
      {{{"PMIX_RANK", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}}, {4, 2, "srun", ""}},
      {{{"PMIX_RANK", "2"}}, {0, 2, "mpirun", ""}},
  }));
  const Launch launch = launched(c.variables);
  CHECK(launch.world == c.want.world);
  CHECK(launch.rank == c.want.rank);
  CHECK(launch.launcher == c.want.launcher);
  CHECK(launch.problem.empty());
}

TEST_CASE("tasks of srun that cannot know each other are refused", "[dist]") {
  const Launch launch = launched({{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", "3"}});
  CHECK(launch.world == 4);
  CHECK(launch.rank == 3);
  CHECK_THAT(launch.problem, Catch::Matchers::Contains("--mpi=pmix"));
}

TEST_CASE("a launcher's variable that is no number is named", "[dist]") {
  const std::string value = GENERATE("", "x", "4x", "-1", "99999999999");
  CHECK_THROWS_WITH(launched({{"OMPI_COMM_WORLD_SIZE", value}}),
                    Catch::Matchers::StartsWith("OMPI_COMM_WORLD_SIZE: " + value + ": "));
}
