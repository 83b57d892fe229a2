#include "trainer/dry_run.h"

#include "trainer/dist/dry_communicator.h"
#include "trainer/matrix_rate.h"
#include "trainer/slice_file.h"
#include "trainer/training_step.h"

namespace spikesink {
namespace {

/// What a pass of `sequences` keeps between its forward and its backward, on a stream and a model of its own.
std::int64_t kept_bytes(const Stream& like, const DryRunJob& job, std::int64_t sequences) {
  const Stream stream = like.with_own_pool();
  Decoder model(job.model, job.recompute);
  model.params().allocate(stream, job.precision, /*grads=*/true);
  const std::int64_t N = sequences * job.model.context;
  const Tensor ids = stream.empty({N}, DType::kI32);
  const std::int64_t before = stream.pool->live_bytes();
  Pass pass(stream, {sequences, job.model.context, job.document_mask ? ids : Tensor{}});
  const Tensor loss = model.loss(pass, model.hidden(pass, ids), ids, 1);
  return stream.pool->live_bytes() - before;
}

}  // namespace

DryRun dry_run(const DryRunJob& job) {
  Stream stream = Stream::dry_run(job.device, job.threads);
  stream.deterministic = job.deterministic;
  Pool& pool = *stream.pool;

  DryRun out{.threads = stream.num_threads};
  Decoder model(job.model, job.recompute);
  const auto communicator = dry_communicator(job.rank, job.world);
  TrainingStep training({.stream = stream,
                         .model = model,
                         .precision = job.precision,
                         .train = job.train,
                         .state_precision = job.state_precision,
                         .shards = {.kind = job.shard, .reduce = job.reduce_precision},
                         .communicator = *communicator,
                         .end_of_text = job.document_mask ? std::optional(std::int32_t{0}) : std::nullopt});
  out.weights = training.shards().value_bytes();
  out.gradients = training.shards().grad_bytes();
  out.optimizer = training.optimizer().bytes();
  const std::int64_t state = pool.live_bytes();
  if (const std::int64_t sequences = training.share().in_pass(0, job.train.micro_batch); sequences > 0)
    out.activations = kept_bytes(stream, job, sequences);
  out.checkpoint_copy = checkpoint_bytes(training.optimizer().slices());

  training.optimizer().init();
  if (job.device == Device::kCpu || !stated_rate(job.precision, job.gpu_name))
    measure_matrix_rate(stream, job.precision);
  const MemoryUse start = MemoryUse::of(pool);
  pool.release_cached();
  pool.reset_peak();

  std::int64_t passes_peak = 0;  // beside the state
  const auto probe = [&] {
    if (job.probe) job.probe(job, stream, model);
    out.steps = out.steps.or_more(training.memory());
  };
  probe();
  pool.reset_peak();
  for (std::int64_t step = 1; step <= 2; ++step) {
    *stream.dry = {};
    training.run_dry(job.train.optimizer.lr, step);
    out.flops = stream.dry->flops;
    out.sent_bytes = stream.dry->sent_bytes;
    passes_peak = training.memory().peak - state;
  }
  probe();
  out.memory = start.or_more(out.steps);
  out.working = passes_peak - out.activations;
  out.other = out.memory.peak - state - passes_peak;
  // The scalars beside the state.
  out.working += state - out.weights - out.gradients - out.optimizer;
  return out;
}

}  // namespace spikesink
