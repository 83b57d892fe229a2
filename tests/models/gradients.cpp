#include <catch2/catch.hpp>
#include <cmath>

#include "tests/models/support.h"

namespace spikesink {
namespace {

/// |numeric - analytic| / scale of the directional derivative of the loss along a random direction in one parameter.
double gradient_error(const Stream& stream, Decoder& model, const Param& param,
                      const std::vector<std::int32_t>& samples, const SampleShape& shape) {
  const Random random{.seed = 7, .stream = name_hash(param.name())};
  const auto w = param.value.span<double>(), g = param.grad.span<double>();
  double analytic = 0;
  for (std::size_t i = 0; i < w.size(); ++i) analytic += g[i] * random.normal(i);
  const auto loss_at = [&](double h) {
    for (std::size_t i = 0; i < w.size(); ++i) w[i] += h * random.normal(i);
    const double loss = mean_loss(stream, model, samples, shape);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] -= h * random.normal(i);
    return loss;
  };
  constexpr double kH = 1e-4;  // five points: the error is of order h^4
  const double numeric = (8 * (loss_at(kH) - loss_at(-kH)) - (loss_at(2 * kH) - loss_at(-2 * kH))) / (12 * kH);
  return std::abs(numeric - analytic) / std::max(1e-2, std::abs(numeric));
}

}  // namespace

TEST_CASE("every parameter's gradient is that of central differences", "[models][grad]") {
  ModelConfig config = test::tiny_config();
  config.tie_embeddings = GENERATE(false, true);
  const std::int64_t loss_from = GENERATE(1, 5);
  const int threads = GENERATE(1, 3);
  CAPTURE(config.tie_embeddings, loss_from, threads);
  const Stream stream = Stream::cpu(threads);
  Decoder model(config);
  model.params().allocate(stream, DType::kF64, true);
  model.params().init(1);
  test::perturb(model.params(), 0.1);
  const auto samples = test::random_samples(config, 3, 5);
  const SampleShape shape{.context = config.context, .micro_batch = 2, .loss_from_position = loss_from};
  model.params().zero_grads();
  const double loss = accumulate_gradients(stream, model, samples, shape);
  CHECK(loss == Approx(mean_loss(stream, model, samples, shape)).epsilon(1e-13));
  for (const Param& param : model.params().all()) {
    CAPTURE(param.name());
    CHECK(gradient_error(stream, model, param, samples, shape) < 1e-6);
  }
}

TEST_CASE("gradients do not depend on how a step is cut into passes", "[models][grad]") {
  const ModelConfig config = test::tiny_config();
  const Stream stream = Stream::cpu(2);
  Decoder model(config);
  model.params().allocate(stream, DType::kF64, true);
  model.params().init(1);
  const auto samples = test::random_samples(config, 5, 3);
  std::vector<double> whole;
  for (const std::int64_t micro_batch : {5, 1, 2}) {
    model.params().zero_grads();
    accumulate_gradients(stream, model, samples,
                         {.context = config.context, .micro_batch = micro_batch, .loss_from_position = 2});
    std::vector<double> grads;
    for (const Param& p : model.params().all())
      grads.insert(grads.end(), p.grad.span<double>().begin(), p.grad.span<double>().end());
    if (whole.empty()) whole = grads;
    for (std::size_t i = 0; i < grads.size(); ++i) REQUIRE(grads[i] == Approx(whole[i]).margin(1e-14));
  }
}

TEST_CASE("the loss starts at the log of the vocabulary and f32 follows f64", "[models]") {
  ModelConfig config = test::tiny_config();
  config.init_std = 0.02;
  const auto samples = test::random_samples(config, 4, 8);
  const SampleShape shape{.context = config.context, .micro_batch = 4, .loss_from_position = 1};
  double losses[2];
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Stream stream = Stream::cpu(2);
    Decoder model(config);
    model.params().allocate(stream, dtype, false);
    model.params().init(1);
    losses[dtype == DType::kF64] = mean_loss(stream, model, samples, shape);
  }
  CHECK(losses[1] == Approx(std::log(17.0)).epsilon(0.01));
  CHECK(losses[0] == Approx(losses[1]).epsilon(1e-6));
}

TEST_CASE("a position sees nothing that comes after it", "[models]") {
  const ModelConfig config = test::tiny_config();
  const Stream stream = Stream::cpu(2);
  Decoder model(config);
  model.params().allocate(stream, DType::kF64, false);
  model.params().init(4);
  const auto hidden_of = [&](const std::vector<std::int32_t>& tokens) {
    const Tensor x = stream.empty({config.context}, DType::kI32);
    std::copy_n(tokens.begin(), config.context, x.data<std::int32_t>());
    Pass pass(stream, {1, config.context}, Pass::Mode::kForwardOnly);
    const Var h = model.hidden(pass, x);
    return std::vector<double>(h.value.span<double>().begin(), h.value.span<double>().end());
  };
  auto tokens = test::random_samples(config, 1, 6);
  const auto before = hidden_of(tokens);
  tokens[5] = (tokens[5] + 1) % 17;
  const auto after = hidden_of(tokens);
  const auto C = static_cast<std::size_t>(config.d_model);
  CHECK(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(5 * C), after.begin()));
  for (std::size_t t = 5; t < 9; ++t) CHECK(before[t * C] != after[t * C]);
}

}  // namespace spikesink
