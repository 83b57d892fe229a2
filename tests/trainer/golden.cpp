#include "kernels/core/random.h"
#include "tests/trainer/support.h"
#include "trainer/training_step.h"

namespace spikesink {

// Ten losses of a tiny model, in double: a change that is not meant to change the computation leaves them as they are.
// Recorded from a run whose gradients pass the checks of tests/models. Other dtypes come as near as their rounding
// lets them.
TEST_CASE("the first ten losses are the recorded ones", "[trainer][golden]") {
  const std::vector<double> golden{2.4825003542908513,  2.3828151509397668, 2.0928613835461736, 1.8583887878399103,
                                   1.6192187336567434,  1.3918680289596874, 1.1777801725030539, 0.98171570014290943,
                                   0.81871934476407393, 0.69415541084338372};
  const ModelConfig config = test::small_model();
  const test::Setup setup = GENERATE(from_range(test::setups()));
  CAPTURE(test::describe(setup));
  const auto& [stream, dtype, state] = setup;
  Decoder model(config);
  const auto communicator = alone();
  TrainConfig train{.batch_tokens = 6 * config.context, .micro_batch = 4};
  TrainingStep training({.stream = stream,
                         .model = model,
                         .precision = dtype,
                         .train = train,
                         .state_precision = state,
                         .communicator = *communicator});
  training.optimizer().init();
  const Random random{.seed = 1, .stream = name_hash("golden")};
  std::vector<std::int32_t> samples(static_cast<std::size_t>(6 * (config.context + 1)));
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<std::int32_t>(random.below(i, 12));
  const double tolerance = dtype == DType::kF64 ? 1e-12 : dtype == DType::kF32 ? 1e-5 : 0.05;
  for (std::int64_t step = 1; step <= 10; ++step) {
    training.run(samples, 0.05, step);
    CAPTURE(step);
    CHECK(training.loss() == Approx(golden[static_cast<std::size_t>(step - 1)]).epsilon(tolerance));
  }
}

}  // namespace spikesink
