#include <cmath>

#include "tests/models/support.h"

// TrainingPasses: on CUDA their passes are recorded and replayed.
namespace spikesink {
namespace {

/// What TrainingPasses does, without graphs or a pool of its own.
double eagerly(const Stream& stream, const Decoder& model, const std::vector<std::int32_t>& samples,
               const SampleShape& shape) {
  const std::int64_t T = shape.context, rows = static_cast<std::int64_t>(samples.size()) / (T + 1);
  const auto counted = static_cast<double>(rows * (T - shape.loss_from_position + 1));
  double loss = 0;
  for (std::int64_t first = 0; first < rows; first += shape.micro_batch) {
    const std::int64_t B = std::min(shape.micro_batch, rows - first);
    std::vector<std::int32_t> tokens, targets;
    for (std::int64_t n = 0; n < B * T; ++n) {
      const auto at = static_cast<std::size_t>((first + n / T) * (T + 1) + n % T);
      tokens.push_back(samples[at]);
      targets.push_back(n % T < shape.loss_from_position - 1 ? -1 : samples[at + 1]);
    }
    const Tensor starts =
        shape.end_of_text ? upload_ids(stream, document_starts(tokens, T, *shape.end_of_text)) : Tensor{};
    Pass pass(stream, {B, T, starts});
    const Tensor losses =
        model.loss(pass, model.hidden(pass, upload_ids(stream, tokens)), upload_ids(stream, targets), 1 / counted);
    pass.backward();
    for (const double x : test::values(losses)) loss += x;
  }
  return loss / counted;
}

std::vector<double> grads_of(const Decoder& model) {
  std::vector<double> all;
  for (const Param& p : model.params().all()) {
    const auto g = test::values(p.grad);
    all.insert(all.end(), g.begin(), g.end());
  }
  return all;
}

}  // namespace

TEST_CASE("passes that are replayed have the sums of passes that are not, to the last bit", "[models][passes]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  const bool documents = GENERATE(false, true);
  CAPTURE(name_of(stream.device), name_of(dtype), documents, stream.num_threads);
  const ModelConfig config = test::tiny_config();
  Decoder model(config, documents ? Recompute::kLayer : Recompute::kNone);
  model.params().allocate(stream, dtype, true);
  model.params().init(1);
  SampleShape shape{.context = config.context, .micro_batch = 2, .loss_from_position = 3};
  if (documents) shape.end_of_text = 5;

  TrainingPasses passes(stream, model, shape);
  CHECK(passes.has_own_pool() == (stream.device == Device::kCuda));
  std::int64_t reserved = 0;
  // Steps of 5 sequences end in a pass of 1; one of 3 has other passes and another scale of the gradients.
  const std::vector<std::int64_t> steps{5, 5, 3, 5};
  for (std::size_t step = 0; step < steps.size(); ++step) {
    CAPTURE(step);
    const auto samples = test::random_samples(config, steps[step], step);
    model.params().zero_grads();
    const double loss = eagerly(stream, model, samples, shape);
    const auto want = grads_of(model);

    const std::int64_t replays = Graph::num_replays(stream);
    model.params().zero_grads();
    passes.run(samples);
    CHECK(passes.loss() == Approx(loss).epsilon(1e-12));
    const bool same = grads_of(model) == want;
    CHECK(same);
    const std::int64_t all = (steps[step] + 1) / 2;
    if (stream.device == Device::kCuda)  // the first of each size is not replayed
      CHECK(Graph::num_replays(stream) - replays == (step == 0 ? all - 2 : all));
    if (step == 1) reserved = passes.pool().reserved_bytes();
    if (step > 1) CHECK(passes.pool().reserved_bytes() == reserved);

    // What others do with memory between the steps is nothing to the graphs.
    const Tensor garbage = test::on(stream, test::poisoned({1000, 100}, dtype));
    if (test::has_gpu()) {
      const Stream other = Stream::cuda();
      const Tensor more = other.zeros({100000}, DType::kF32);
      other.synchronize();
    }
  }
}

TEST_CASE("passes do not depend on what the same object ran before", "[models][passes]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = test::dtypes(stream).back();
  const ModelConfig config = test::tiny_config();
  Decoder model(config);
  model.params().allocate(stream, dtype, true);
  model.params().init(1);
  const SampleShape shape{.context = config.context, .micro_batch = 2, .loss_from_position = 1};
  const auto samples = test::random_samples(config, 4, 1), others = test::random_samples(config, 4, 2);
  const auto after = [&](TrainingPasses& passes) {
    model.params().zero_grads();
    passes.run(samples);
    const double loss = passes.loss();
    return std::pair(loss, grads_of(model));
  };
  TrainingPasses fresh(stream, model, shape), used(stream, model, shape);
  for (int i = 0; i < 3; ++i) used.run(others);
  const bool same = after(fresh) == after(used);
  CHECK(same);
}

TEST_CASE("tokens outside of the vocabulary are refused before they reach a GPU", "[models][passes]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const ModelConfig config = test::tiny_config();
  Decoder model(config);
  model.params().allocate(stream, DType::kF32, true);
  const SampleShape shape{.context = config.context, .micro_batch = 2, .loss_from_position = 1};
  auto samples = test::random_samples(config, 2, 1);
  const std::int32_t bad = GENERATE(-1, 17);
  samples.back() = bad;
  CHECK_THROWS_WITH(accumulate_gradients(stream, model, samples, shape), Catch::Contains("of 17"));
  CHECK_THROWS_WITH(mean_loss(stream, model, samples, shape), Catch::Contains("of 17"));
}

}  // namespace spikesink
