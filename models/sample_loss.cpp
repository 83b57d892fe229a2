#include "models/sample_loss.h"

#include <algorithm>

namespace spikesink {

Tensor document_starts(const Stream& stream, const Tensor& tokens, const Batch& batch, std::int32_t end_of_text) {
  const Tensor starts = stream.empty(tokens.shape(), DType::kI32);
  const std::int32_t* token = tokens.data<std::int32_t>();
  for (std::int64_t n = 0, start = 0; n < tokens.numel(); ++n) {
    const std::int64_t position = n % batch.length;
    if (position == 0)
      start = 0;
    else if (token[n - 1] == end_of_text)
      start = position;
    starts.data<std::int32_t>()[n] = static_cast<std::int32_t>(start);
  }
  return starts;
}

namespace {

double run(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples, const SampleShape& shape,
           Pass::Mode mode, Observer* observer) {
  const std::int64_t row = shape.context + 1, total = static_cast<std::int64_t>(samples.size()) / row;
  require(total > 0 && total * row == static_cast<std::int64_t>(samples.size()), "a step of ", samples.size(),
          " tokens is not whole rows of ", row);
  const auto counted = static_cast<double>(total * (shape.context - shape.loss_from_position + 1));
  double sum = 0;
  for (std::int64_t first = 0; first < total; first += shape.micro_batch) {
    const std::int64_t B = std::min(shape.micro_batch, total - first), N = B * shape.context;
    const Tensor tokens = stream.empty({N}, DType::kI32), targets = stream.empty({N}, DType::kI32);
    for (std::int64_t b = 0; b < B; ++b) {
      const std::int32_t* sample = samples.data() + (first + b) * row;
      std::int32_t* x = tokens.data<std::int32_t>() + b * shape.context;
      std::int32_t* y = targets.data<std::int32_t>() + b * shape.context;
      std::copy_n(sample, shape.context, x);
      std::copy_n(sample + 1, shape.context, y);
      std::fill_n(y, shape.loss_from_position - 1, -1);  // position p predicts the token after it
    }
    const Tensor starts =
        shape.end_of_text ? document_starts(stream, tokens, {B, shape.context}, *shape.end_of_text) : Tensor{};
    Pass pass(stream, {B, shape.context, starts}, mode, observer);
    const Tensor losses = [&] {
      const Var hidden = model.hidden(pass, tokens);
      return model.loss(pass, hidden, targets, 1 / counted);
    }();
    with_dtype(losses.dtype(), [&]<class T>() {
      for (const T loss : losses.span<T>()) sum += static_cast<double>(loss);
    });
    pass.backward();
  }
  return sum / counted;
}

}  // namespace

double accumulate_gradients(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                            const SampleShape& shape) {
  return run(stream, model, samples, shape, Pass::Mode::kTrain, nullptr);
}

double mean_loss(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                 const SampleShape& shape, Observer* observer) {
  return run(stream, model, samples, shape, Pass::Mode::kForwardOnly, observer);
}

}  // namespace spikesink
