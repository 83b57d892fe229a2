#pragma once
#include <string_view>

namespace spikesink {

/// configs/slurm/array.sbatch, as it was when the program was built.
extern const std::string_view kSlurmTemplate;

}  // namespace spikesink
