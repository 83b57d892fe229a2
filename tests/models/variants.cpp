#include <catch2/catch.hpp>
#include <cmath>

#include "tests/models/support.h"

namespace spikesink {
using test::all_of;
using test::describe;
using test::gradients;
using test::LossAndGrads;
using test::small_config;
namespace {

/// The largest error over parameters of the directional derivative against central differences, relative to it or to
/// a hundredth.
double worst_error(const ModelConfig& config, const SampleShape& shape, std::string& where) {
  const Stream stream = Stream::cpu(1);
  const auto samples = test::random_samples(config, 2, 5);
  Decoder model(config), cheap(config, Recompute::kCheap), checkpointed(config, Recompute::kLayer);
  for (Decoder* m : {&model, &cheap, &checkpointed}) {
    m->params().allocate(stream, DType::kF64, true);
    m->params().init(1);
    test::perturb(m->params(), 0.2);
  }
  const LossAndGrads plain = gradients(stream, model, samples, shape);
  for (Decoder* m : {&cheap, &checkpointed}) {
    const LossAndGrads again = gradients(stream, *m, samples, shape);
    CHECK(plain.loss == again.loss);
    const bool same_bits = plain.grads == again.grads;
    CHECK(same_bits);
  }

  double worst = 0;
  for (std::size_t i = 0; i < plain.grads.size(); ++i) {
    const Param& param = model.params().all()[i];
    const Random random{.seed = 7, .stream = name_hash(param.name())};
    const auto w = param.value.span<double>();
    std::vector<double> direction(w.size());
    for (std::size_t k = 0; k < w.size(); ++k) direction[k] = random.normal(k);
    const auto loss_at = [&](double h) {
      for (std::size_t k = 0; k < w.size(); ++k) w[k] += h * direction[k];
      const double loss = mean_loss(stream, model, samples, shape);
      for (std::size_t k = 0; k < w.size(); ++k) w[k] -= h * direction[k];
      return loss;
    };
    constexpr double kH = 2e-5;  // five points: errors of order h^4 and 1e-16 / h
    const double numeric = (8 * (loss_at(kH) - loss_at(-kH)) - (loss_at(2 * kH) - loss_at(-2 * kH))) / (12 * kH);
    double analytic = 0;
    for (std::size_t k = 0; k < w.size(); ++k) analytic += plain.grads[i][k] * direction[k];
    const double error = std::abs(numeric - analytic) / std::max(1e-2, std::abs(numeric));
    if (!(error <= worst)) {
      worst = error;
      where = param.name();
    }
  }
  return worst;
}

}  // namespace

// Walks the enumerations that YAML is looked up in, so that a kind without a gradient check cannot exist.
TEST_CASE("every norm kind x placement x QK-norm x FFN x gate has the right gradient, whatever is recomputed",
          "[models][grad][variants]") {
  const NormKind kind = GENERATE(from_range(all_of<NormKind>()));
  const bool input = GENERATE(true, false), output = GENERATE(true, false);
  ModelConfig c = small_config();
  c.norm.kind = kind;
  c.norm.input = input;
  c.norm.output = output;
  std::size_t checked = 0;
  for (const QkNorm qk : all_of<QkNorm>())
    for (const FfnKind ffn : all_of<FfnKind>())
      for (const GateSource source : all_of<GateSource>())
        for (const GateGranularity granularity : all_of<GateGranularity>()) {
          if (source == GateSource::kNone && granularity != GateGranularity::kChannel) continue;
          c.norm.qk = qk;
          c.ffn.kind = ffn;
          c.attention.gate = {.source = source, .granularity = granularity};
          std::string where;
          const double error = worst_error(c, {.context = c.context, .micro_batch = 2, .loss_from_position = 1}, where);
          if (!(error < 1e-6)) FAIL_CHECK(describe(c) << ": " << where << " is off by " << error);
          ++checked;
        }
  const std::size_t gates = 1 + (all_of<GateSource>().size() - 1) * all_of<GateGranularity>().size();
  CHECK(checked == all_of<QkNorm>().size() * all_of<FfnKind>().size() * gates);
}

TEST_CASE("what stands outside the product has the right gradient too", "[models][grad][variants]") {
  ModelConfig c = small_config();
  SampleShape shape{.context = c.context, .micro_batch = 2, .loss_from_position = 1};
  test::vary_outside_the_product(c, shape);
  SECTION("two layers that share a token embedding") {
    c.n_layers = 2;
    c.attention.gate.source = GateSource::kToken;
    c.ffn.kind = FfnKind::kAttention;
  }
  std::string where;
  CHECK(worst_error(c, shape, where) < 1e-6);
}

TEST_CASE("a document sees nothing of the one before it", "[models][variants]") {
  ModelConfig c = small_config();
  c.context = 8;
  const Stream stream = Stream::cpu(1);
  Decoder model(c);
  model.params().allocate(stream, DType::kF64, false);
  model.params().init(1);
  const auto hidden_of = [&](std::vector<std::int32_t> tokens) {
    const Tensor starts = upload_ids(stream, document_starts(tokens, c.context, 6));
    Pass pass(stream, {1, c.context, starts}, Pass::Mode::kForwardOnly);
    const Var h = model.hidden(pass, upload_ids(stream, tokens));
    return std::vector<double>(h.value.span<double>().begin(), h.value.span<double>().end());
  };
  const auto a = hidden_of({1, 2, 3, 6, 4, 5, 1, 2}), b = hidden_of({3, 3, 5, 6, 4, 5, 1, 2});
  const auto second = static_cast<std::ptrdiff_t>(4 * c.d_model);
  CHECK(std::equal(a.begin() + second, a.end(), b.begin() + second));
  CHECK_FALSE(std::equal(a.begin(), a.begin() + second, b.begin()));
}

TEST_CASE("a checkpointed layer keeps its input only, and shows every activation once", "[models][memory][variants]") {
  ModelConfig c = small_config();
  c.d_model = 64;
  c.n_layers = 3;
  c.context = 32;
  const Stream stream = Stream::cpu(1);
  Decoder model(c, Recompute::kLayer);
  model.params().allocate(stream, DType::kF32, true);
  model.params().init(1);
  const std::int64_t N = c.context, C = c.d_model;
  const Tensor tokens = stream.zeros({N}, DType::kI32), targets = stream.zeros({N}, DType::kI32);
  struct Counter final : Observer {
    void activation(std::string_view, const Tensor&) override { ++activations; }
    void gradient(std::string_view, const Tensor&) override { ++gradients; }
    void attention(std::string_view, const AttentionTap&) override { ++taps; }
    int activations = 0, gradients = 0, taps = 0;
  } counter;
  const std::int64_t before = stream.pool->live_bytes();
  Pass pass(stream, {1, N}, Pass::Mode::kTrain, &counter);
  const Tensor loss = model.loss(pass, model.hidden(pass, tokens), targets, 1.0);
  // Each layer's input, the final norm's input and 1 / rms, the loss's dx, and the losses.
  CHECK(stream.pool->live_bytes() - before == 4 * (3 * N * C + N * C + N + N * C + N));
  pass.backward();
  CHECK(stream.pool->live_bytes() - before == 4 * N);
  CHECK(counter.taps == 3);
  CHECK(counter.activations == 3 * 2 * 3 + 1);  // norm, branch, residual of each block; the final norm
  CHECK(counter.gradients == counter.activations);
}

TEST_CASE("every gate shows its logits once a pass, whatever is recomputed", "[models][variants]") {
  ModelConfig c = small_config();
  c.n_layers = 2;
  c.ffn.kind = FfnKind::kAttention;
  c.attention.gate = {.source = GENERATE(GateSource::kConditional, GateSource::kPositional),
                      .granularity = GateGranularity::kHead};
  const Stream stream = Stream::cpu(1);
  Decoder model(c, GENERATE(from_range(all_of<Recompute>())));
  model.params().allocate(stream, DType::kF32, true);
  model.params().init(1);
  struct Recorder final : Observer {
    void gate(std::string_view path, const GateTap& tap) override {
      paths.emplace_back(path);
      CHECK(tap.logits.shape() == Shape{5, 2});  // rows: a token each, or a position; one sequence
      CHECK(tap.n_heads == 2);
      CHECK(tap.length == 5);
    }
    std::vector<std::string> paths;
  } recorder;
  const Tensor tokens = stream.zeros({c.context}, DType::kI32), targets = stream.zeros({c.context}, DType::kI32);
  Pass pass(stream, {1, c.context}, Pass::Mode::kTrain, &recorder);
  model.loss(pass, model.hidden(pass, tokens), targets, 1.0);
  pass.backward();
  CHECK(recorder.paths == std::vector<std::string>{"model.layers.0.self_attn.gate", "model.layers.0.self_attn2.gate",
                                                   "model.layers.1.self_attn.gate", "model.layers.1.self_attn2.gate"});
}

}  // namespace spikesink
