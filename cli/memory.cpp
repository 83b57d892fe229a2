#include "cli/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <vector>

#include "analysis/measure.h"
#include "cli/session.h"
#include "io/failure.h"
#include "kernels/core/gpu.h"
#include "trainer/dist/ranks.h"
#include "trainer/fit.h"

namespace spikesink::cli {
namespace {

/// A line of /proc/meminfo, in bytes; 0 if it is not there.
std::int64_t meminfo(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with(name + ":")) return std::strtoll(line.c_str() + name.size() + 1, nullptr, 10) * 1024;
  return 0;
}

}  // namespace

DryRunJob dry_run_job(const Config& config, std::int64_t probe_sequences, const std::string& gpu_name) {
  require_kernels(config);
  // Shared, since jobs are copied.
  const auto samples = std::make_shared<const std::vector<std::int32_t>>(
      static_cast<std::size_t>(probe_sequences * (config.model.context + 1)));
  const auto probe = [metrics = config.metrics.probe, samples](const DryRunJob& job, const Stream& stream,
                                                               const Decoder& model) {
    measure(stream, model, *samples,
            {.metrics = metrics,
             .micro_batch = job.train.micro_batch,
             .loss_from_position = job.train.loss_from_position,
             .end_of_text = job.document_mask ? std::optional(std::int32_t{0}) : std::nullopt});
  };
  return {.model = config.model,
          .train = config.train,
          .device = config.system.resolved_device(),
          .precision = config.system.resolved_precision(),
          .recompute = config.system.recompute,
          .state_precision = config.system.state_precision,
          .deterministic = config.system.deterministic,
          .shard = config.system.shard,
          .reduce_precision = config.system.resolved_reduce(),
          .gpu_name = gpu_name,
          .document_mask = config.data.document_mask,
          .probe = probe};
}

std::string Room::text() const {
  return set_aside == 0 ? of : of + ", less " + bytes_text(set_aside) + " for CUDA's context and libraries";
}

Room room_on(const KnownGpu& gpu, int world) {
  const std::int64_t aside = kGpuContextBytes + kGpuLibraryBytes + (world > 1 ? kGpuRanksBytes : 0);
  return {.of = std::string(gpu.part), .bytes = gpu.total_bytes - aside, .set_aside = aside};
}

std::optional<Room> room_on(const Stream& stream) {
  if constexpr (kHasCuda) {
    if (stream.device == Device::kCuda) {
      const gpu::Info info = gpu::info();
      return Room{.of = info.name,
                  .bytes = std::max<std::int64_t>(info.free_bytes - kGpuLibraryBytes, 0),
                  .set_aside = kGpuLibraryBytes};
    }
  }
  const std::int64_t available = meminfo("MemAvailable");
  if (available == 0) return std::nullopt;
  return Room{.of = "this machine", .bytes = available + meminfo("SwapFree")};
}

std::optional<Room> room_here(const Config& config) {
  if (config.system.resolved_device() == Device::kCpu) return room_on(Stream::cpu());
  if constexpr (kHasCuda) {
    if (gpu::num_devices() > 0) return room_on(Stream::cuda());  // its context takes memory too
  }
  return std::nullopt;
}

void require_memory(const Config& config, const Stream& stream, std::int64_t probe_sequences, const Ranks& ranks) {
  auto room = room_on(stream);
  if (!room) return;
  if (stream.device == Device::kCpu && ranks.local_world() > 1) {
    room->bytes /= ranks.local_world();
    room->of += fmt::format(", for each of its {} ranks", ranks.local_world());
  }
  DryRunJob job = dry_run_job(config, probe_sequences, room->of);
  job.rank = ranks.rank();
  job.world = ranks.world();
  job.threads = stream.num_threads;
  const DryRun run = dry_run(job);
  if (run.needed(job.device) <= room->bytes) return;
  const Shortage shortage(job, run, room->bytes);
  const auto gpu = known_gpu(room->of);
  const std::string mend = shortage.change ? ""
                           : gpu           ? fmt::format("; see spikesink plan --gpu {}{} --fit", gpu->key,
                                               ranks.world() > 1 ? fmt::format(" --world {}", ranks.world()) : "")
                                           : "; a smaller model is needed";
  throw UsageError("memory of " + room->text() + ": " + shortage.text() + mend);
}

}  // namespace spikesink::cli
