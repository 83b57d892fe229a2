#include "trainer/optimizer.h"

#include <cmath>
#include <limits>

#include "tests/trainer/support.h"

namespace spikesink {
namespace {

/// One step on gradients that are all `gradient`; returns the change of the first element of every parameter.
std::vector<double> changes_after_step(const test::Setup& setup, double gradient, const OptimizerConfig& config,
                                       double& norm) {
  const auto& [stream, dtype, state] = setup;
  Decoder model(test::small_model());
  const auto communicator = alone();
  Shards shards(stream, model, dtype, *communicator, {});
  Optimizer optimizer(shards, config, state, 1);
  optimizer.init();
  std::vector<double> before, changes;
  for (const Param& p : model.params().all()) {
    before.push_back(test::values(p.value)[0]);
    stream.copy(p.grad, test::filled(p.shape, p.grad.dtype(), gradient));
  }
  optimizer.step(config.lr, 1);
  norm = optimizer.grad_norm();
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Param& p = model.params().all()[i];
    changes.push_back(test::values(p.value)[0] - before[i] * (p.decays() ? 1 - config.lr * config.weight_decay : 1));
  }
  return changes;
}

/// Of a weight and of a moment, rounded to the nearest or at random; and of the weight that a change starts from.
double precision(const test::Setup& setup) { return setup.dtype == DType::kBF16 ? 0x1p-5 : 1e-6; }

}  // namespace

TEST_CASE("the first step of AdamW is lr * sign(g), decay is decoupled and for matrices only", "[trainer][optimizer]") {
  const test::Setup setup = GENERATE(from_range(test::setups()));
  CAPTURE(test::describe(setup));
  double norm = 0;
  const OptimizerConfig config{.lr = 0.5, .eps = 1e-300, .weight_decay = 0.25, .clip = 0};
  for (const double change : changes_after_step(setup, -2.0, config, norm))
    CHECK(change == Approx(0.5).epsilon(precision(setup)));
  const auto n = static_cast<double>(Decoder(test::small_model()).params().num_elements());
  CHECK(norm == Approx(2 * std::sqrt(n)));
}

TEST_CASE("gradients are clipped by their global norm, and only if it is larger", "[trainer][optimizer]") {
  const test::Setup setup = GENERATE(from_range(test::setups()));
  CAPTURE(test::describe(setup));
  // With a large eps the step is nearly proportional to the gradient, so that a clip shows: lr * g / eps.
  double norm = 0;
  const auto step = [&](double gradient, double clip) {
    return changes_after_step(setup, gradient, {.lr = 1e6, .eps = 1e6, .weight_decay = 0, .clip = clip}, norm)[1];
  };
  const double free = step(1.0, 0), whole = norm;
  CHECK(free == Approx(-1).epsilon(precision(setup) + 1e-5));
  CHECK(step(1.0, whole * 1.01) == Approx(free));
  CHECK(step(1.0, whole / 4) == Approx(free / 4).epsilon(precision(setup) + 1e-5));
}

TEST_CASE("a gradient that is not finite changes nothing: weights, moments and masters", "[trainer][optimizer]") {
  const test::Setup setup = GENERATE(from_range(test::setups()));
  const double value = GENERATE(std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity());
  CAPTURE(test::describe(setup), value);
  test::Trained trained(1, test::small_model(), setup);
  const auto before = trained.state();
  const Tensor grad = trained.model.params().all()[3].grad.slice(2, {1});
  setup.stream.copy(grad, test::filled({1}, grad.dtype(), value));
  trained.optimizer->step(0.1, 2);
  CHECK_FALSE(std::isfinite(trained.optimizer->grad_norm()));
  CHECK(trained.state() == before);
  setup.stream.copy(grad, test::filled({1}, grad.dtype(), 0));
  trained.optimizer->step(0.1, 2);  // and the next one goes on from there
  CHECK(std::isfinite(trained.optimizer->grad_norm()));
  CHECK(trained.state() != before);
}

TEST_CASE("state has the dtypes of its precision, and masters the values that the weights are rounded from",
          "[trainer][optimizer]") {
  const test::Setup setup = GENERATE(from_range(test::setups()));
  CAPTURE(test::describe(setup));
  const auto& [stream, dtype, precision] = setup;
  Decoder model(test::small_model()), exact(test::small_model());
  exact.params().allocate(Stream::cpu(1), DType::kF32, false);
  exact.params().init(1);
  const auto communicator = alone();
  Shards shards(stream, model, dtype, *communicator, {});
  Optimizer optimizer(shards, {}, precision, 1);
  optimizer.init();
  for (std::size_t i = 0; i < model.params().all().size(); ++i) {
    const auto [m, v, master] = optimizer.state(i);
    const Param& p = model.params().all()[i];
    CHECK(static_cast<bool>(master) == (dtype == DType::kBF16 && precision == StatePrecision::kF32));
    CHECK(m.dtype() == (master ? DType::kF32 : dtype));
    CHECK(v.dtype() == m.dtype());
    CHECK(p.grad.dtype() == acc_dtype(dtype));
    if (!master) continue;
    CHECK(test::values(master) == test::values(exact.params().all()[i].value));
    std::vector<double> rounded;
    for (const double x : test::values(master)) rounded.push_back(bf16(static_cast<float>(x)));
    CHECK(test::values(p.value) == rounded);
  }
}

TEST_CASE("masters keep what bf16 weights alone would lose, and rounding at random keeps it on average",
          "[trainer][optimizer]") {
  const test::Setup setup = GENERATE(from_range(test::setups()));
  CAPTURE(test::describe(setup));
  if (setup.dtype == DType::kF64) return;
  // Steps of 1e-4 on weights of 1, between which bf16 has steps of 0.004 and 0.008.
  const auto& [stream, dtype, state] = setup;
  Decoder model(test::small_model());
  const auto communicator = alone();
  Shards shards(stream, model, dtype, *communicator, {});
  Optimizer optimizer(shards, {.weight_decay = 0, .clip = 0}, state, 5);
  optimizer.init();
  for (const Param& p : model.params().all()) stream.copy(p.grad, test::filled(p.shape, p.grad.dtype(), 1));
  for (int step = 1; step <= 50; ++step) optimizer.step(1e-4, step);
  double sum = 0, count = 0;
  for (const Param& p : model.params().all())
    if (!p.decays())  // norms: 24 weights that start at 1
      for (const double w : test::values(p.value)) {
        sum += w - 1;
        ++count;
      }
  // Rounding at random: each of n weights has gone down by 0 or by 0.0039, whose mean has an error of 0.002 / sqrt(n).
  CHECK(sum / count == Approx(-0.005).margin(dtype == DType::kBF16 ? 0.0021 : 1e-6));
  CHECK(count == 24);
}

}  // namespace spikesink
