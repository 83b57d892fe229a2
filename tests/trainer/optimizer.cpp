#include "trainer/optimizer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/trainer/support.h"

namespace spikesink {
namespace {

/// One step on gradients that are all `gradient`; returns the change of the first element of every parameter.
std::vector<double> changes_after_step(double gradient, const OptimizerConfig& config, double& norm) {
  const Stream stream = Stream::cpu(2);
  Decoder model(test::small_model());
  model.params().allocate(stream, DType::kF64, true);
  model.params().init(1);
  Optimizer optimizer(stream, model.params(), config);
  std::vector<double> before, changes;
  for (const Param& p : model.params().all()) {
    before.push_back(p.value.span<double>()[0]);
    std::ranges::fill(p.grad.span<double>(), gradient);
  }
  optimizer.step(config.lr, 1);
  norm = optimizer.grad_norm();
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Param& p = model.params().all()[i];
    changes.push_back(p.value.span<double>()[0] - before[i] * (p.decays() ? 1 - config.lr * config.weight_decay : 1));
  }
  return changes;
}

}  // namespace

TEST_CASE("the first step of AdamW is lr * sign(g), decay is decoupled and for matrices only", "[trainer][optimizer]") {
  double norm = 0;
  const OptimizerConfig config{.lr = 0.5, .eps = 1e-300, .weight_decay = 0.25, .clip = 0};
  for (const double change : changes_after_step(-2.0, config, norm)) CHECK(change == Approx(0.5));
  const auto n = static_cast<double>(Decoder(test::small_model()).params().num_elements());
  CHECK(norm == Approx(2 * std::sqrt(n)));
}

TEST_CASE("gradients are clipped by their global norm, and only if it is larger", "[trainer][optimizer]") {
  // With a large eps the step is nearly proportional to the gradient, so that a clip shows: lr * g / eps.
  double norm = 0;
  const auto step = [&](double gradient, double clip) {
    return changes_after_step(gradient, {.lr = 1, .eps = 1e6, .weight_decay = 0, .clip = clip}, norm)[1];
  };
  const double free = step(1.0, 0), whole = norm;
  CHECK(step(1.0, whole * 1.01) == Approx(free));
  CHECK(step(1.0, whole / 4) == Approx(free / 4).epsilon(1e-5));
}

TEST_CASE("a gradient that is not finite changes nothing", "[trainer][optimizer]") {
  test::Trained trained(1);
  const auto before = trained.state();
  trained.model.params().all()[3].grad.span<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  trained.optimizer->step(0.1, 2);
  CHECK(std::isnan(trained.optimizer->grad_norm()));
  CHECK(trained.state() == before);
}

}  // namespace spikesink
