#include "trainer/dry_run.h"

#include "trainer/matrix_rate.h"
#include "trainer/optimizer.h"
#include "trainer/slice_file.h"

namespace spikesink {
namespace {

/// What a pass of `sequences` keeps between its forward and its backward.
std::int64_t kept_bytes(const Stream& like, const Decoder& model, std::int64_t sequences, bool document_mask) {
  const Stream stream = like.with_own_pool();
  const std::int64_t N = sequences * model.config().context;
  const Tensor ids = stream.empty({N}, DType::kI32);
  const std::int64_t before = stream.pool->live_bytes();
  Pass pass(stream, {sequences, model.config().context, document_mask ? ids : Tensor{}});
  const Tensor loss = model.loss(pass, model.hidden(pass, ids), ids, 1);
  return stream.pool->live_bytes() - before;
}

/// Weights alone.
std::int64_t weight_bytes(const Stream& like, const DryRunJob& job) {
  const Stream stream = like.with_own_pool();
  Decoder model(job.model);
  model.params().allocate(stream, job.precision, /*grads=*/false);
  return stream.pool->live_bytes();
}

}  // namespace

DryRun dry_run(const DryRunJob& job) {
  Stream stream = Stream::dry_run(job.device, job.threads);
  stream.deterministic = job.deterministic;
  Pool& pool = *stream.pool;
  const std::int64_t context = job.model.context, sequences = job.train.sequences(context);

  DryRun out{.threads = stream.num_threads};
  Decoder model(job.model, job.recompute);
  model.params().allocate(stream, job.precision, /*grads=*/true);
  out.weights = weight_bytes(stream, job);
  out.gradients = pool.live_bytes() - out.weights;
  Optimizer optimizer(stream, model.params(), job.train.optimizer, job.state_precision);
  out.optimizer = pool.live_bytes() - out.weights - out.gradients;
  TrainingPasses passes(stream, model,
                        {.context = context,
                         .micro_batch = job.train.micro_batch,
                         .loss_from_position = job.train.loss_from_position,
                         .end_of_text = job.document_mask ? std::optional(std::int32_t{0}) : std::nullopt});
  const std::int64_t state = pool.live_bytes();
  out.activations = kept_bytes(stream, model, std::min(job.train.micro_batch, sequences), job.document_mask);
  out.checkpoint_copy = checkpoint_bytes(state_slices(model.params(), optimizer));

  model.params().init(1);
  optimizer.init_masters(1);
  if (job.device == Device::kCpu || !stated_rate(job.precision, job.gpu_name))
    measure_matrix_rate(stream, job.precision);
  const MemoryUse start = MemoryUse::of(pool);
  pool.release_cached();
  pool.reset_peak();

  std::int64_t passes_peak = 0;  // beside the state
  const auto probe = [&] {
    if (job.probe) job.probe(job, stream, model);
    out.steps = out.steps.or_more(MemoryUse::of(stream, passes));
  };
  probe();
  pool.reset_peak();
  for (std::int64_t step = 1; step <= 2; ++step) {
    stream.dry->flops = 0;
    model.params().zero_grads();
    passes.run_dry(sequences);
    optimizer.step(job.train.optimizer.lr, step);
    out.flops = stream.dry->flops;
    passes_peak = MemoryUse::of(stream, passes).peak - state;
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
