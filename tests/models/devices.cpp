#include <cmath>

#include "tests/models/support.h"

// Whole models on every device and dtype against the CPU in double, on the same weights.
namespace spikesink {
namespace {

using test::gradients;
using test::LossAndGrads;

/// The largest error of a parameter's gradient, as the norm of the difference over that of the gradient, or over a
/// hundredth of the largest of all norms; and that of the loss, relative.
struct Errors {
  double gradient = 0, loss = 0;
  std::string where;
};
Errors compare(const Stream& stream, DType dtype, const ModelConfig& config, const SampleShape& shape,
               Recompute recompute = Recompute::kNone, std::int64_t sequences = 2) {
  const auto samples = test::random_samples(config, sequences, 5);
  Decoder exact(config), model(config, recompute);
  const Stream cpu = Stream::cpu(1);
  exact.params().allocate(cpu, DType::kF64, true);
  exact.params().init(1);
  test::perturb(exact.params(), 0.2);
  test::round_values(exact.params(), dtype);
  model.params().allocate(stream, dtype, true);
  test::copy_values(stream, exact.params(), model.params());
  const LossAndGrads want = gradients(cpu, exact, samples, shape), got = gradients(stream, model, samples, shape);

  const auto norm = [](const std::vector<double>& x) {
    double squares = 0;
    for (const double value : x) squares += value * value;
    return std::sqrt(squares);
  };
  double largest = 0;
  for (const auto& g : want.grads) largest = std::max(largest, norm(g));
  Errors errors{.loss = std::abs(got.loss / want.loss - 1)};
  for (std::size_t i = 0; i < want.grads.size(); ++i) {
    std::vector<double> difference = got.grads[i];
    for (std::size_t k = 0; k < difference.size(); ++k) difference[k] -= want.grads[i][k];
    const double error = norm(difference) / std::max(norm(want.grads[i]), 0.01 * largest);
    if (!(error <= errors.gradient)) {
      errors.gradient = error;
      errors.where = model.params().all()[i].name();
    }
  }
  return errors;
}

/// f32 has 24 bits, bf16 8; what is lost at each of some 20 roundings on the way adds up, most in the weights of
/// QK-norm, whose gradients are small differences.
void check(const Errors& errors, DType dtype, const std::string& what) {
  const bool narrow = dtype == DType::kBF16;
  if (!(errors.gradient < (narrow ? 0.25 : 2e-5)))
    FAIL_CHECK(what << ": the gradient of " << errors.where << " is off by " << errors.gradient);
  if (!(errors.loss < (narrow ? 0.01 : 1e-6))) FAIL_CHECK(what << ": the loss is off by " << errors.loss);
}

}  // namespace

// Every kind of each part in every norm placement, and every pair of kinds of norm, QK-norm and FFN; gates take turns.
// The product itself is walked on the CPU in double: what a module does is the same on every device.
TEST_CASE("every variant on every device has the loss and the gradients of the CPU in double", "[models][devices]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  if (dtype == DType::kF64) return;
  CAPTURE(name_of(stream.device), name_of(dtype), stream.num_threads);
  std::vector<GateConfig> gates{{.source = GateSource::kNone}};
  for (const GateSource source : test::all_of<GateSource>())
    for (const GateGranularity granularity : test::all_of<GateGranularity>())
      if (source != GateSource::kNone) gates.push_back({.source = source, .granularity = granularity});
  std::size_t turn = 0;
  for (const NormKind kind : test::all_of<NormKind>())
    for (const bool input : {true, false})
      for (const bool output : {true, false})
        for (const QkNorm qk : test::all_of<QkNorm>())
          for (const FfnKind ffn : test::all_of<FfnKind>()) {
            ModelConfig c = test::small_config();
            c.norm.kind = kind;
            c.norm.input = input;
            c.norm.output = output;
            c.norm.qk = qk;
            c.ffn.kind = ffn;
            c.attention.gate = gates[turn++ % gates.size()];
            check(compare(stream, dtype, c, {.context = c.context, .micro_batch = 2, .loss_from_position = 1}), dtype,
                  test::describe(c));
          }
  CHECK(turn > 10 * gates.size());
}

TEST_CASE("what stands outside of the variants is the same on every device too", "[models][devices]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  if (dtype == DType::kF64) return;
  CAPTURE(name_of(stream.device), name_of(dtype), stream.num_threads);
  ModelConfig c = test::small_config();
  SampleShape shape{.context = c.context, .micro_batch = 2, .loss_from_position = 1};
  Recompute recompute = Recompute::kNone;
  test::vary_outside_the_product(c, shape);
  SECTION("what is computed again") {
    recompute = GENERATE(Recompute::kCheap, Recompute::kLayer);
    c.n_layers = 2;
    c.attention.gate.source = GateSource::kConditional;
  }
  SECTION("heads and a context that cuDNN would serve") {
    c.d_model = 64;
    c.context = shape.context = 64;
    c.attention = {.n_heads = 2, .n_kv_heads = 1, .d_head = 64};
  }
  SECTION("rows and widths that fill no vector") {
    c.d_model = 9;
    c.ffn.d_hidden = 7;
    c.vocab_size = 13;
    c.attention = {.n_heads = 3, .d_head = 2};
  }
  check(compare(stream, dtype, c, shape, recompute, 3), dtype, test::describe(c));
}

TEST_CASE("weights start the same on every device", "[models][devices]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  ModelConfig c = test::tiny_config();
  c.embedding_scale = EmbeddingScale::kLearned;
  c.norm.kind = NormKind::kDynamicTanh;
  Decoder exact(c), model(c);
  exact.params().allocate(Stream::cpu(1), DType::kF64, false);
  exact.params().init(3);
  model.params().allocate(stream, dtype, false);
  model.params().init(3);
  std::size_t elements = 0, differ = 0;
  for (std::size_t i = 0; i < model.params().all().size(); ++i) {
    const auto want = test::values(exact.params().all()[i].value), got = test::values(model.params().all()[i].value);
    for (std::size_t k = 0; k < want.size(); ++k) {
      double rounded = want[k];
      with_stored_dtype(dtype, [&]<class T>() {
        if (dtype != DType::kF64) rounded = static_cast<double>(static_cast<T>(static_cast<float>(want[k])));
      });
      ++elements;
      differ += got[k] != rounded;
      const double epsilon = dtype == DType::kBF16 ? 0x1p-7 : 0x1p-22;
      if (std::abs(got[k] - rounded) > epsilon * std::abs(rounded)) FAIL("at " << k << ": " << got[k]);
    }
  }
  // CUDA's log and cos in double may differ in the last bit, which one of some 2^28 roundings to f32 shows.
  CHECK(differ <= (stream.device == Device::kCuda && !kCudaEmulated ? elements / 1000 : 0));
}

}  // namespace spikesink
