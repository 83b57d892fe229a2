#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "configs/config.h"
#include "trainer/dry_run.h"
#include "trainer/gpus.h"

namespace spikesink {
class Ranks;
}

namespace spikesink::cli {

/// A config's run, to be counted dry, with a probe of `probe_sequences`. `gpu_name`: CUDA's name of the GPU, if known.
/// UsageError where its device cannot run its model.
DryRunJob dry_run_job(const Config& config, std::int64_t probe_sequences, const std::string& gpu_name = "");

/// What no pool counts on a GPU: CUDA's context, which is there with the first stream; and the code of kernels and
/// libraries and the graphs, which come during the first steps. Assumed, not measured.
inline constexpr std::int64_t kGpuContextBytes = std::int64_t{512} << 20, kGpuLibraryBytes = std::int64_t{256} << 20;
/// The same of NCCL's buffers.
inline constexpr std::int64_t kGpuRanksBytes = std::int64_t{1} << 30;

/// Memory that a run's tensors may take.
struct Room {
  std::string of;              ///< "NVIDIA H100", "this machine"
  std::int64_t bytes;          ///< free
  std::int64_t set_aside = 0;  ///< taken off before, for CUDA's context and libraries

  /// "NVIDIA H100, less 256.0 MiB for CUDA's context and libraries"
  std::string text() const;
};
/// Of a known GPU that nobody else uses, in a run of `world` ranks.
Room room_on(const KnownGpu& gpu, int world = 1);
/// Of the stream's GPU, or host memory with swap; nothing where it is unknown.
std::optional<Room> room_on(const Stream& stream);
/// Where the config would run; nothing also without its GPU.
std::optional<Room> room_here(const Config& config);

/// UsageError that says what to change, if a run of the config on `stream` needs more memory than there is. Ranks of
/// one node share host memory.
void require_memory(const Config& config, const Stream& stream, std::int64_t probe_sequences, const Ranks& ranks);

}  // namespace spikesink::cli
