#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "models/decoder.h"
#include "trainer/config.h"
#include "trainer/memory.h"

namespace spikesink {

/// A run that is to be counted instead of done.
struct DryRunJob {
  ModelConfig model;
  TrainConfig train;
  Device device = Device::kCpu;
  DType precision = DType::kF32;
  Recompute recompute = Recompute::kNone;
  StatePrecision state_precision = StatePrecision::kF32;
  bool deterministic = true;
  ShardKind shard = ShardKind::kOptimizer;
  ReducePrecision reduce_precision = ReducePrecision::kF32;
  int rank = 0, world = 1;
  int threads = 0;       ///< of the CPU; 0: as Stream::cpu()
  std::string gpu_name;  ///< CUDA's, where it is known
  bool document_mask = false;
  /// What the run's Probe does, at train.micro_batch, on a stream and a model that are dry; empty: nothing.
  std::function<void(const DryRunJob&, const Stream&, const Decoder&)> probe;
};

/// What a run takes on one of its ranks, from its kernels' checks on a dry stream: neither values nor a GPU are needed.
/// Bytes are exact for the pools of a run on the same device, in the same build, with as many threads. The first six
/// add up to memory.peak.
struct DryRun {
  std::int64_t weights = 0, gradients = 0;
  std::int64_t optimizer = 0;    ///< moments and masters
  std::int64_t activations = 0;  ///< kept for the way back of a pass
  std::int64_t working = 0;      ///< beside them at a pass's peak: gradients of activations, logits, scratch, inputs
  std::int64_t other = 0;        ///< more than all these: of the probe, or of measuring the matrix rate
  MemoryUse memory;              ///< in all
  MemoryUse steps;               ///< after the matrix rate was measured
  std::int64_t checkpoint_copy = 0;  ///< host memory, while a checkpoint is written
  int threads = 0;                   ///< of the CPU
  double flops = 0;                  ///< of a step, of the rank, with what is recomputed
  double sent_bytes = 0;             ///< of a step, to other ranks

  /// Bytes that must be there: on CUDA what is reserved, on the CPU what is in use, and the checkpoint's copy.
  std::int64_t needed(Device device) const {
    return device == Device::kCuda ? memory.reserved : memory.peak + checkpoint_copy;
  }
};

/// Does what train() does from its start to the end of the second step, with a probe before and after.
DryRun dry_run(const DryRunJob& job);

}  // namespace spikesink
