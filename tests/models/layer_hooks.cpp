#include "models/layer_hooks.h"

#include <limits>
#include <map>

#include "tests/models/support.h"

namespace spikesink {
namespace {

struct Call {
  const char* name;
  std::int64_t layer;
  bool operator==(const Call&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Call& call) { return out << call.name << call.layer; }

/// Lends every buffer for as long as the contract says. Outside of that values and gradients are not a number.
class Lender final : public LayerHooks {
 public:
  explicit Lender(ParamSet& params) : params_(params) {
    for (const LayerBuffer& layer : params.layers()) {
      const auto values = layer.values.span<double>(), grads = layer.grads.span<double>();
      values_.emplace_back(values.begin(), values.end());
      sums_.emplace_back(grads.size(), 0.0);
      poison(layer.values);
      poison(layer.grads);
    }
  }
  void expect_pass(bool last) override { calls.push_back({last ? "last" : "expect", 0}); }
  bool idle() const override { return false; }
  void begin_pass(bool trains) override { calls.push_back({trains ? "train" : "look", 0}); }
  void before_forward(std::int64_t layer) override { lend_values("f+", layer); }
  void after_forward(std::int64_t layer) override { take_values("f-", layer); }
  void open_gradient(std::int64_t layer) override {
    calls.push_back({"g+", layer});
    open(layer);
  }
  void before_backward(std::int64_t layer) override {
    lend_values("b+", layer);
    if (!open_[layer]) open(layer);
  }
  void after_backward(std::int64_t layer) override {
    take_values("b-", layer);
    const auto grads = buffer(layer).grads.span<double>();
    sums_[static_cast<std::size_t>(layer)].assign(grads.begin(), grads.end());
    poison(buffer(layer).grads);
    open_[layer] = false;
  }

  std::vector<double> sums() const {
    std::vector<double> all;
    for (const auto& sum : sums_) all.insert(all.end(), sum.begin(), sum.end());
    return all;
  }
  bool all_given_back() const {
    for (const auto& [layer, lent] : lent_)
      if (lent) return false;
    for (const auto& [layer, open] : open_)
      if (open) return false;
    return true;
  }
  std::vector<Call> calls;

 private:
  static void poison(const Tensor& t) { std::ranges::fill(t.span<double>(), std::numeric_limits<double>::quiet_NaN()); }
  LayerBuffer& buffer(std::int64_t layer) { return params_.layers()[static_cast<std::size_t>(layer)]; }
  void lend_values(const char* name, std::int64_t layer) {
    calls.push_back({name, layer});
    if (lent_[layer]++ == 0)
      std::ranges::copy(values_[static_cast<std::size_t>(layer)], buffer(layer).values.span<double>().begin());
  }
  void take_values(const char* name, std::int64_t layer) {
    calls.push_back({name, layer});
    if (--lent_[layer] == 0) poison(buffer(layer).values);
  }
  void open(std::int64_t layer) {
    std::ranges::copy(sums_[static_cast<std::size_t>(layer)], buffer(layer).grads.span<double>().begin());
    open_[layer] = true;
  }

  ParamSet& params_;
  std::vector<std::vector<double>> values_, sums_;
  std::map<std::int64_t, int> lent_;
  std::map<std::int64_t, bool> open_;
};

std::vector<double> grads_of(const ParamSet& params) {
  std::vector<double> all;
  for (const LayerBuffer& layer : params.layers()) {
    const auto grads = layer.grads.span<double>();
    all.insert(all.end(), grads.begin(), grads.end());
  }
  return all;
}

/// Variants whose layers use parameters in all the ways that there are.
struct Variant {
  const char* name;
  void (*apply)(ModelConfig&);
};
const Variant kVariants[] = {
    {"untied", [](ModelConfig&) {}},
    {"tied", [](ModelConfig& c) { c.tie_embeddings = true; }},
    {"tied, no final norm: an empty buffer",
     [](ModelConfig& c) {
       c.tie_embeddings = true;
       c.norm.final = false;
     }},
    {"a token gate, a scaled embedding, QK-norm, output norms",
     [](ModelConfig& c) {
       c.attention.gate.source = GateSource::kToken;
       c.embedding_scale = EmbeddingScale::kLearned;
       c.norm.qk = QkNorm::kHead;
       c.norm.output = true;
     }},
    {"a positional gate, GeLU, LayerNorm, tied",
     [](ModelConfig& c) {
       c.attention.gate.source = GateSource::kPositional;
       c.ffn.kind = FfnKind::kGelu;
       c.norm.kind = NormKind::kLayerNorm;
       c.tie_embeddings = true;
     }},
};

}  // namespace

TEST_CASE("parameters are read and their gradients written only where the hooks are told so", "[models][hooks]") {
  const Variant variant = GENERATE(from_range(std::begin(kVariants), std::end(kVariants)));
  const auto recompute = GENERATE(Recompute::kNone, Recompute::kCheap, Recompute::kLayer);
  CAPTURE(variant.name, recompute);
  ModelConfig config = test::tiny_config();
  variant.apply(config);
  const Stream stream = Stream::cpu(2);
  Decoder model(config, recompute);
  model.params().allocate(stream, DType::kF64, true);
  model.params().init(1);
  test::perturb(model.params(), 0.1);
  const auto samples = test::random_samples(config, 5, 3);
  const SampleShape shape{.context = config.context, .micro_batch = 2, .loss_from_position = 2};
  const double loss = accumulate_gradients(stream, model, samples, shape),
               mean = mean_loss(stream, model, samples, shape);
  const auto grads = grads_of(model.params());

  Lender lender(model.params());
  model.attach(&lender);
  CHECK(accumulate_gradients(stream, model, samples, shape) == loss);
  const bool same = lender.sums() == grads;
  CHECK(same);
  CHECK(lender.all_given_back());
  CHECK(mean_loss(stream, model, samples, shape) == mean);
  CHECK(lender.all_given_back());
}

TEST_CASE("hooks come in the same order whatever is recomputed, and in that of an empty pass", "[models][hooks]") {
  const auto recompute = GENERATE(Recompute::kNone, Recompute::kCheap, Recompute::kLayer);
  const bool tied = GENERATE(false, true);
  CAPTURE(recompute, tied);
  ModelConfig config = test::tiny_config();
  config.tie_embeddings = tied;
  const Stream stream = Stream::cpu(1);
  Decoder model(config, recompute);
  model.params().allocate(stream, DType::kF64, true);
  model.params().init(1);
  Lender lender(model.params());
  model.attach(&lender);
  const SampleShape shape{.context = config.context, .micro_batch = 2, .loss_from_position = 1};
  const auto samples = test::random_samples(config, 2, 3);
  const std::int64_t head = tied ? 0 : 3;
  const std::vector<Call> forward{{"f+", 0}, {"f-", 0}, {"f+", 1}, {"f-", 1},   {"f+", 2},
                                  {"f-", 2}, {"f+", 3}, {"f-", 3}, {"f+", head}};
  std::vector<Call> look{{"look", 0}}, train{{"train", 0}};
  for (auto* calls : {&look, &train}) calls->insert(calls->end(), forward.begin(), forward.end());
  look.push_back({"f-", head});
  train.insert(train.end(), {{"g+", head},
                             {"f-", head},
                             {"b+", 3},
                             {"b-", 3},
                             {"b+", 2},
                             {"b-", 2},
                             {"b+", 1},
                             {"b-", 1},
                             {"b+", 0},
                             {"b-", 0}});
  const auto called = [&] { return std::exchange(lender.calls, {}); };
  model.empty_pass(Pass::Mode::kTrain);
  CHECK(called() == train);
  model.empty_pass(Pass::Mode::kForwardOnly);
  CHECK(called() == look);
  mean_loss(stream, model, samples, shape);
  CHECK(called() == look);
  accumulate_gradients(stream, model, samples, shape);
  train.insert(train.begin(), {"last", 0});
  CHECK(called() == train);
}

TEST_CASE("a rank's part of a step has the gradients of its sequences, scaled by the tokens of all",
          "[models][hooks]") {
  const ModelConfig config = test::tiny_config();
  const Stream stream = Stream::cpu(1);
  const std::int64_t total = 7, row = config.context + 1, micro_batch = 2;
  const int world = GENERATE(1, 2, 3, 5, 9);
  CAPTURE(world);
  Decoder model(config);
  model.params().allocate(stream, DType::kF64, true);
  model.params().init(1);
  const auto samples = test::random_samples(config, total, 3);
  const SampleShape shape{.context = config.context, .micro_batch = micro_batch, .loss_from_position = 4};
  const double loss = accumulate_gradients(stream, model, samples, shape);
  const auto grads = grads_of(model.params());

  model.params().zero_grads();
  double sum = 0;
  std::int64_t next = 0, passes = -1;
  TrainingPasses training(stream, model, shape);
  for (int rank = 0; rank < world; ++rank) {
    const StepShare share = StepShare::of(total, micro_batch, rank, world);
    CHECK(share.first == next);
    CHECK((passes == -1 || share.passes == passes));
    CHECK(share.in_pass(share.passes, micro_batch) == 0);
    next = share.first + share.count;
    passes = share.passes;
    training.run(std::span(samples).subspan(static_cast<std::size_t>(share.first * row),
                                            static_cast<std::size_t>(share.count * row)),
                 share);
    sum += training.loss();
  }
  CHECK(next == total);
  CHECK(sum == Approx(loss).epsilon(1e-13));
  const auto parts = grads_of(model.params());
  for (std::size_t i = 0; i < grads.size(); ++i) REQUIRE(parts[i] == Approx(grads[i]).margin(1e-14));
}

}  // namespace spikesink
