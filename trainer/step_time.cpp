#include "trainer/step_time.h"

#include <algorithm>
#include <array>

#include "models/cost.h"
#include "models/step_share.h"

namespace spikesink {
namespace {

/// Bytes and operations that a rank takes part in.
struct Sent {
  double bytes = 0, operations = 0;
  Sent operator+(const Sent& o) const { return {bytes + o.bytes, operations + o.operations}; }
  Sent operator-(const Sent& o) const { return {bytes - o.bytes, operations - o.operations}; }
  Sent operator*(double n) const { return {n * bytes, n * operations}; }
};

class Links {
 public:
  Links(const KnownGpu& gpu, const Cluster& cluster, int world) : rate_(kLinkShare * link_rate(gpu, cluster, world)) {
    const int nodes = (world + cluster.gpus_per_node - 1) / cluster.gpus_per_node;
    operation_ = kOperationSeconds + (world - nodes) * kNodeHopSeconds + (nodes - 1) * kNetworkHopSeconds;
  }
  double sending(const Sent& t) const { return t.bytes / rate_; }
  double latency(const Sent& t) const { return t.operations * operation_; }
  double operator()(const Sent& t) const { return sending(t) + latency(t); }

 private:
  double rate_, operation_;
};

double attention_flops(const ModelConfig& m, std::int64_t tokens) {
  const std::int64_t layers = m.n_layers * (m.ffn.kind == FfnKind::kAttention ? 2 : 1);
  return 6 * static_cast<double>(layers * m.attention.n_heads * m.attention.d_head * m.context) *
         static_cast<double>(tokens);
}

}  // namespace

double attention_share(std::int64_t d_head) {
  struct Measured {
    std::int64_t d_head;
    double share;
  };
  // 3 F / (F / forward + 2.5 F / backward) of attention at T = 4096, in the order that repeats.
  constexpr std::array<Measured, 5> kMeasured = {{{8, 0.04}, {16, 0.08}, {64, 0.205}, {128, 0.32}, {256, 0.276}}};
  double share = kMeasured.front().share;
  for (const Measured& m : kMeasured)
    if (m.d_head <= d_head) share = m.share;
  return share;
}

double link_rate(const KnownGpu& gpu, const Cluster& cluster, int world) {
  if (world <= cluster.gpus_per_node) return gpu.link_rate;
  const int rest = world % cluster.gpus_per_node;  // of a last node that is not full, whose NICs bound the ring
  return std::min(gpu.link_rate, (rest == 0 ? cluster.gpus_per_node : rest) * cluster.nic_rate);
}

double mfu(const DryRunJob& job, double seconds, const KnownGpu& gpu) {
  const double tokens = static_cast<double>(job.train.sequences(job.model.context) * job.model.context);
  return cost_of(job.model, job.train.loss_from_position).flops() * tokens / (seconds * job.world * gpu.bf16_flops);
}

StepTime step_time(const DryRunJob& job, const DryRun& run, std::int64_t activations, const KnownGpu& gpu,
                   const Cluster& cluster) {
  const StepShare share =
      StepShare::of(job.train.sequences(job.model.context), job.train.micro_batch, job.rank, job.world);
  const std::int64_t tokens = share.count * job.model.context;
  const ModelCost cost = cost_of(job.model);
  const auto parameters = static_cast<double>(cost.parameters()), passes = static_cast<double>(share.passes);
  const auto weights = parameters * static_cast<double>(size_of(job.precision));
  const auto gradients = parameters * static_cast<double>(size_of(acc_dtype(job.precision)));
  const double memory_rate = kMemoryShare * gpu.memory_rate;

  StepTime time;
  const double attention =
      std::min(run.flops, attention_flops(job.model, tokens) * (job.recompute == Recompute::kLayer ? 4.0 / 3 : 1));
  time.products = (run.flops - attention) / (kProductShare * gpu.bf16_flops);
  time.attention = attention / (attention_share(job.model.attention.d_head) * gpu.bf16_flops);
  const auto kept = static_cast<double>(run.activations),
             whole = static_cast<double>(std::max(activations, run.activations));
  time.memory = passes * (2 * weights + 2 * gradients + 4 * whole + 3 * (whole - kept)) / memory_rate;
  const double part = job.shard == ShardKind::kNone ? 1 : 1.0 / job.world;
  time.optimizer = (2 * static_cast<double>(run.optimizer) + part * (2 * gradients + weights)) / memory_rate;
  if (job.world == 1) return time;

  const Links links(gpu, cluster, job.world);
  const bool every_pass = job.shard == ShardKind::kGradients || job.shard == ShardKind::kParameters;
  const auto layers = static_cast<double>(job.model.n_layers + 2);
  const double sums = every_pass ? passes : 1;
  // Theory gives what is summed; the rest of what the dry run sent is gathered.
  const double summed = job.reduce_precision == ReducePrecision::kBF16 ? parameters * 2 : gradients;
  const Sent sum{summed * (job.world - 1) / job.world, layers};
  const double gatherings = job.shard == ShardKind::kParameters ? 2 * passes : 1;
  const Sent gathering{std::max(run.sent_bytes - sums * sum.bytes, 0.0) / gatherings, layers};
  const double first = static_cast<double>(cost.embedding.parameters) / parameters;
  const auto embedding = [&](const Sent& t) { return Sent{first * t.bytes, 1}; };

  const Sent all = sum * sums + gathering * gatherings;
  time.sending = links.sending(all);
  time.latency = links.latency(all);
  time.memory += 2 * all.bytes / memory_rate;

  const double pass = (time.products + time.attention + time.memory) / passes;
  const double recomputed = run.flops / (cost.flops() * static_cast<double>(tokens)) - 1;
  const double forward = pass / (3 * (1 + std::max(recomputed, 0.0))), backward = pass - forward;
  const auto behind = [&](double computing, const Sent& t) { return std::min(computing, links(t)); };
  const Sent last_sum = sum - embedding(sum), first_gathering = gathering - embedding(gathering);
  switch (job.shard) {
    case ShardKind::kNone:
      time.hidden = behind(backward, last_sum + first_gathering);
      break;
    case ShardKind::kOptimizer:
      time.hidden = behind(backward, last_sum) + behind(forward, first_gathering);
      break;
    case ShardKind::kGradients:
      time.hidden =
          (passes - 1) * behind(backward, sum) + behind(backward, last_sum) + behind(forward, first_gathering);
      break;
    case ShardKind::kParameters:
      time.hidden = (passes - 1) * (behind(forward, gathering) + behind(backward, gathering + sum)) +
                    behind(forward, first_gathering) + behind(backward, gathering + last_sum);
      break;
  }
  return time;
}

}  // namespace spikesink
