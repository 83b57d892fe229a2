#pragma once
#include <cstdint>

#include "trainer/dry_run.h"
#include "trainer/gpus.h"

namespace spikesink {

/// How the ranks of a run, a GPU each, are joined.
struct Cluster {
  int gpus_per_node = 8;
  double nic_rate = 50e9;  ///< bytes a second and GPU, each way, to other nodes: 400 Gbit/s
};

// The constants of the model below. Products, attention and memory are measured: benchmarks/results/gpu_h100_sxm.json,
// of which the model gives all six training steps within 4 % (a test holds it to 5). They are taken as shares of what
// the maker states, so that they serve other GPUs, of which nothing is measured. Links and latencies are not measured.
inline constexpr double kProductShare = 0.76;  ///< of gpu.bf16_flops, of matrix products
inline constexpr double kMemoryShare = 0.8;    ///< of gpu.memory_rate
inline constexpr double kLinkShare = 0.8;      ///< of links' rates: assumed
/// Of a collective, and of each of its steps from one GPU to the next: what NCCL takes for rings of long messages
/// (baseLat and hwLat of its src/graph/tuning.cc).
inline constexpr double kOperationSeconds = 8.4e-6, kNodeHopSeconds = 3.4e-6, kNetworkHopSeconds = 14e-6;
/// Of gpu.bf16_flops, of attention's scores and values, forward and backward, by the size of heads.
double attention_share(std::int64_t d_head);

/// A prediction of a step's seconds, on the rank that does most of it.
///
/// Computation. Products and attention: FLOPs over a share of the stated rate. Memory: a pass reads weights twice,
/// reads and writes gradients, writes and reads activations and their gradients, and writes what is recomputed and
/// reads it twice; what is sent is read, what is received is written. Optimizer: state is read and written, gradients
/// are read twice, values are written.
///
/// Communication, by rings. What a rank sends goes at kLinkShare of link_rate(); a collective of W ranks has W - 1
/// steps, a hop each. It hides behind the pass that it runs beside: sums behind the last backward (none, optimizer) or
/// every one (gradients, parameters), updated values behind the next forward (optimizer, gradients), gathered layers
/// behind both ways of every pass (parameters). The embedding does not: its gradients are the last to be summed, its
/// values the first that are needed. Forward is a third of a pass, less with what is recomputed.
///
/// Left out: ranks that wait for each other or share links with others, what NCCL takes of a GPU, sums of single
/// numbers, data, logging and checkpoints.
struct StepTime {
  double products = 0, attention = 0, memory = 0, optimizer = 0;
  double sending = 0, latency = 0;  ///< communication: by bytes, and by steps of collectives
  double hidden = 0;                ///< of communication, behind computation

  double compute() const { return products + attention + memory + optimizer; }
  double communication() const { return sending + latency; }
  double exposed() const { return communication() - hidden; }
  double seconds() const { return compute() + exposed(); }
};

/// `run`: of `job`. `activations`: kept by a pass of its size that recomputes nothing.
StepTime step_time(const DryRunJob& job, const DryRun& run, std::int64_t activations, const KnownGpu& gpu,
                   const Cluster& cluster);

/// Bytes a second that a rank of a ring sends: the GPU's link inside a node; in a run of several nodes no more than the
/// NICs of a node together, since rings leave and enter a node at every one of its GPUs.
double link_rate(const KnownGpu& gpu, const Cluster& cluster, int world);

/// Model FLOPs of the whole step over what `world` GPUs could do in `seconds`.
double mfu(const DryRunJob& job, double seconds, const KnownGpu& gpu);

}  // namespace spikesink
