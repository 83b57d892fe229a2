#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "configs/config.h"
#include "trainer/dry_run.h"

namespace spikesink::cli {

/// A config's run, to be counted dry, with a probe of `probe_sequences`. `gpu_name`: CUDA's name of the GPU, if known.
/// UsageError where its device cannot run its model.
DryRunJob dry_run_job(const Config& config, std::int64_t probe_sequences, const std::string& gpu_name = "");

/// Memory that a run may take.
struct Room {
  std::string of;      ///< "NVIDIA H100", "this machine"
  std::int64_t bytes;  ///< free
};
/// Of the stream's GPU, or host memory with swap; nothing where it is unknown.
std::optional<Room> room_on(const Stream& stream);
/// Where the config would run; nothing also without its GPU.
std::optional<Room> room_here(const Config& config);

/// UsageError that says what to change, if a run of the config on `stream` needs more memory than there is.
void require_memory(const Config& config, const Stream& stream, std::int64_t probe_sequences);

}  // namespace spikesink::cli
