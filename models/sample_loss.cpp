#include "models/sample_loss.h"

#include <algorithm>

#include "kernels/core/nvtx.h"
#include "kernels/loss/loss_sum.h"

namespace spikesink {

Tensor upload_ids(const Stream& stream, std::span<const std::int32_t> ids) {
  Tensor t = stream.empty({static_cast<std::int64_t>(ids.size())}, DType::kI32);
  stream.upload(t, ids.data());
  return t;
}

std::vector<std::int32_t> document_starts(std::span<const std::int32_t> tokens, std::int64_t length,
                                          std::int32_t end_of_text) {
  std::vector<std::int32_t> starts(tokens.size());
  std::int64_t start = 0;
  for (std::size_t n = 0; n < tokens.size(); ++n) {
    const std::int64_t position = static_cast<std::int64_t>(n) % length;
    if (position == 0)
      start = 0;
    else if (tokens[n - 1] == end_of_text)
      start = position;
    starts[n] = static_cast<std::int32_t>(start);
  }
  return starts;
}

PassInput PassInput::slice(std::int64_t first, std::int64_t count, std::int64_t length) const {
  const auto part = [&](const Tensor& t) { return t ? t.slice(first * length, {count * length}) : Tensor{}; };
  return {part(tokens), part(targets), part(starts)};
}

namespace {

std::int64_t num_sequences(std::span<const std::int32_t> samples, const SampleShape& shape) {
  const std::int64_t row = shape.context + 1, total = static_cast<std::int64_t>(samples.size()) / row;
  require(total * row == static_cast<std::int64_t>(samples.size()), "a step of ", samples.size(),
          " tokens is not whole rows of ", row);
  return total;
}

double counted_tokens(std::int64_t sequences, const SampleShape& shape) {
  return static_cast<double>(sequences * (shape.context - shape.loss_from_position + 1));
}

/// The ids that passes over `samples` read: inputs, targets and, if asked for, first positions, each (n * T).
std::int64_t num_ids(std::span<const std::int32_t> samples, const SampleShape& shape) {
  return num_sequences(samples, shape) * shape.context * (shape.end_of_text ? 3 : 2);
}

/// Writes those ids to `memory`, and uploads each kind. Kernels on a GPU trust their values, so they are looked at
/// here.
PassInput upload(std::span<const std::int32_t> samples, const SampleShape& shape, std::int64_t vocab_size,
                 std::span<std::int32_t> memory, auto&& to_device) {
  for (const std::int32_t token : samples)
    require(token >= 0 && token < vocab_size, "token ", token, " of ", vocab_size);
  const auto T = static_cast<std::size_t>(shape.context), total = samples.size() / (T + 1);
  const auto tokens = memory.first(total * T), targets = memory.subspan(total * T, total * T);
  for (std::size_t b = 0; b < total; ++b) {
    const auto sample = samples.subspan(b * (T + 1), T + 1);
    std::ranges::copy(sample.first(T), tokens.subspan(b * T).begin());
    const auto predicted = targets.subspan(b * T, T);
    std::ranges::copy(sample.last(T), predicted.begin());
    std::fill_n(predicted.begin(), shape.loss_from_position - 1, -1);  // position p predicts the token after it
  }
  PassInput input{to_device(tokens), to_device(targets)};
  if (shape.end_of_text) {
    const auto starts = memory.last(total * T);
    std::ranges::copy(document_starts(tokens, shape.context, *shape.end_of_text), starts.begin());
    input.starts = to_device(starts);
  }
  return input;
}

/// A pass over `input`; its losses are added to `total`.
void run_pass(const Stream& stream, const Decoder& model, const PassInput& input, const Batch& batch, Pass::Mode mode,
              Observer* observer, double grad_scale, const Tensor& total) {
  Pass pass(stream, batch, mode, observer);
  {
    const Var hidden = model.hidden(pass, input.tokens);
    kernels::loss_sum(stream, {.total = total, .losses = model.loss(pass, hidden, input.targets, grad_scale)});
  }
  pass.backward();
}

}  // namespace

TrainingPasses::TrainingPasses(const Stream& stream, const Decoder& model, const SampleShape& shape)
    : stream_(stream),
      passes_(stream.device == Device::kCuda ? stream.with_own_pool() : stream),
      model_(model),
      shape_(shape),
      staging_(stream),
      total_(stream.zeros({1}, DType::kF64)) {}

void TrainingPasses::run(std::span<const std::int32_t> samples) {
  run(samples, StepShare::of(num_sequences(samples, shape_), shape_.micro_batch));
}

void TrainingPasses::run(std::span<const std::int32_t> samples, const StepShare& share) {
  require(num_sequences(samples, shape_) == share.count, "TrainingPasses: not the ", share.count,
          " sequences of the share");
  run(upload(samples, shape_, model_.config().vocab_size, staging_.next(num_ids(samples, shape_)),
             [this](auto ids) { return staging_.upload(ids); }),
      share);
}

void TrainingPasses::run_dry(const StepShare& share) {
  require(stream_.dry != nullptr, "run_dry on a stream that is not dry");
  const auto ids = [&] { return stream_.empty({share.count * shape_.context}, DType::kI32); };
  PassInput input{ids(), ids()};
  if (shape_.end_of_text) input.starts = ids();
  run(input, share);
}

void TrainingPasses::run(const PassInput& input, const StepShare& share) {
  counted_ = counted_tokens(share.total, shape_);
  stream_.clear(total_);
  for (std::int64_t p = 0; p < share.passes;) {
    const std::int64_t alike = stream_.dry ? num_alike(share, p) : 1;
    const Work before = stream_.dry ? *stream_.dry : Work{};
    pass(input, share, p);
    if (alike > 1) stream_.dry->repeat(before, alike);
    p += alike;
  }
}

/// Passes from `p` on that do the same work. The first and the last of those that hooks know are not like the others.
std::int64_t TrainingPasses::num_alike(const StepShare& share, std::int64_t p) const {
  const std::int64_t whole = share.count / shape_.micro_batch;
  const std::int64_t end = model_.hooks() ? std::min(whole, share.passes - 1) : whole;
  return p >= end || (model_.hooks() && p == 0) ? 1 : end - p;
}

void TrainingPasses::pass(const PassInput& samples, const StepShare& share, std::int64_t p) {
  LayerHooks* const hooks = model_.hooks();
  if (hooks) hooks->expect_pass(p + 1 == share.passes);
  const std::int64_t B = share.in_pass(p, shape_.micro_batch);
  if (B == 0) return model_.empty_pass(Pass::Mode::kTrain);
  const PassInput input = samples.slice(p * shape_.micro_batch, B, shape_.context);
  if (stream_.device == Device::kCuda && (!hooks || hooks->idle()))
    pass_by_graph(input, B, 1 / counted_);
  else
    one_pass(input, B, 1 / counted_);
}

double TrainingPasses::loss() const { return stream_.on_host(total_).data<double>()[0] / counted_; }

void TrainingPasses::one_pass(const PassInput& input, std::int64_t sequences, double grad_scale) {
  run_pass(passes_, model_, input, {sequences, shape_.context, input.starts}, Pass::Mode::kTrain, nullptr, grad_scale,
           total_);
}

// The first pass of its size runs as it is, and fills the pool and the libraries' plans; the second is recorded.
void TrainingPasses::pass_by_graph(const PassInput& input, std::int64_t sequences, double grad_scale) {
  Recorded& recorded = recorded_[sequences];
  const bool first = !recorded.input.tokens;
  if (first) {
    const auto like = [&](const Tensor& t) { return t ? stream_.empty(t.shape(), t.dtype()) : Tensor{}; };
    recorded.input = {like(input.tokens), like(input.targets), like(input.starts)};
    recorded.name = "pass of " + std::to_string(sequences) + (sequences == 1 ? " sequence" : " sequences");
  }
  stream_.copy(recorded.input.tokens, input.tokens);
  stream_.copy(recorded.input.targets, input.targets);
  if (input.starts) stream_.copy(recorded.input.starts, input.starts);
  if (first || stream_.dry) return one_pass(recorded.input, sequences, grad_scale);
  if (!recorded.graph || recorded.grad_scale != grad_scale) {
    recorded.graph = Graph::record(stream_, [&] { one_pass(recorded.input, sequences, grad_scale); });
    recorded.grad_scale = grad_scale;
  }
  const Range range(recorded.name.c_str());
  recorded.graph.replay(stream_);
}

double accumulate_gradients(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                            const SampleShape& shape) {
  TrainingPasses passes(stream, model, shape);
  passes.run(samples);
  return passes.loss();
}

double mean_loss(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                 const SampleShape& shape, Observer* observer) {
  const std::int64_t total = num_sequences(samples, shape), T = shape.context;
  const Tensor sum = stream.zeros({1}, DType::kF64);
  require(total > 0, "mean_loss: of no sequences");
  std::vector<std::int32_t> ids(static_cast<std::size_t>(num_ids(samples, shape)));
  const PassInput input =
      upload(samples, shape, model.config().vocab_size, ids, [&](auto part) { return upload_ids(stream, part); });
  for_passes(stream, total, shape.micro_batch, [&](std::int64_t first, std::int64_t B) {
    const PassInput part = input.slice(first, B, T);
    run_pass(stream, model, part, {B, T, part.starts}, Pass::Mode::kForwardOnly, observer, 0, sum);
  });
  return stream.on_host(sum).data<double>()[0] / counted_tokens(total, shape);
}

}  // namespace spikesink
