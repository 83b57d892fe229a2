#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "configs/config.h"
#include "trainer/dry_run.h"

namespace spikesink::cli {

/// A config's run, to be counted dry, with a probe of `probe_sequences`. `gpu_name`: CUDA's name of the GPU, if known.
DryRunJob dry_run_job(const Config& config, std::int64_t probe_sequences, const std::string& gpu_name = "");

/// Memory that a run may take.
struct Room {
  std::string of;      ///< "NVIDIA H100", "this machine"
  std::int64_t bytes;  ///< free
};
/// Of this machine's GPU, where the config's device is CUDA, or its host memory with swap; nothing where it is unknown.
std::optional<Room> room_here(const Config& config);

/// UsageError that says what to change, if a run of the config needs more memory than there is.
void require_memory(const Config& config, std::int64_t probe_sequences);

}  // namespace spikesink::cli
