#include "models/interventions.h"

#include <algorithm>
#include <set>

#include "tests/models/support.h"

namespace spikesink {
namespace {

using test::tiny_config;

/// A model with values, and a forward-only pass over one sample.
struct Run {
  explicit Run(const ModelConfig& c, Recompute recompute = Recompute::kNone) : model(c, recompute) {
    model.params().allocate(stream, DType::kF64, false);
    model.params().init(5);
    test::perturb(model.params(), 0.1);
  }
  std::vector<double> hidden(Intervention* intervention, Observer* observer = nullptr) const {
    const auto& c = model.config();
    const auto samples = test::random_samples(c, 2, 3);
    Pass pass(stream, {2, c.context}, Pass::Mode::kForwardOnly, observer, intervention);
    const std::span<const std::int32_t> ids(samples.data(), static_cast<std::size_t>(2 * c.context));
    return test::values(model.hidden(pass, upload_ids(stream, ids)).value);
  }
  const Param& param(const std::string& part) const {
    for (const Param& p : model.params().all())
      if (p.name() == part) return p;
    throw ContractError("no parameter " + part);
  }
  void scale(const std::string& part, double factor) const {
    for (double& x : param(part).value.span<double>()) x *= factor;
  }

  Stream stream = Stream::cpu(2);
  Decoder model;
};

Tensor scaled(const Tensor& x, double factor) {
  const Tensor y = test::copy(x);
  for (double& value : y.span<double>()) value *= factor;
  return y;
}

}  // namespace

TEST_CASE("an intervention that overrides nothing changes no bit", "[models][intervention]") {
  ModelConfig c = tiny_config();
  c.ffn.kind = GENERATE(FfnKind::kSwiGlu, FfnKind::kAttention);
  c.attention.gate.source = GENERATE(GateSource::kNone, GateSource::kConditional);
  const Run run(c, GENERATE(Recompute::kNone, Recompute::kLayer));
  Intervention nothing;
  CHECK(run.hidden(&nothing) == run.hidden(nullptr));
}

TEST_CASE("an intervention is asked of every product, module and attention of the blocks once", "[models]") {
  struct Asked final : Intervention {
    void product(const Param& weight, Tensor& x, Tensor& values) override {
      products.push_back(weight.name());
      CHECK(matrix_dims(x).cols == values.shape()[1]);
      CHECK(values.shape() == weight.shape);
    }
    Tensor activation(std::string_view path, const Tensor& value) override {
      return activations.emplace_back(path), value;
    }
    bool attention(std::string_view path, const kernels::AttentionForward&) override {
      return attentions.emplace_back(path), false;
    }
    Tensor heads(std::string_view path, const Tensor& value) override { return of_heads.emplace_back(path), value; }
    std::vector<std::string> products, activations, attentions, of_heads;
  } asked;
  struct Seen final : Observer {
    void activation(std::string_view path, const Tensor&) override { paths.emplace_back(path); }
    std::vector<std::string> paths;
  } seen;
  ModelConfig c = tiny_config();
  c.attention.gate.source = GateSource::kConditional;
  const Run run(c, GENERATE(Recompute::kNone, Recompute::kLayer));
  run.hidden(&asked, &seen);

  std::vector<std::string> matrices;
  for (const Param& p : run.model.params().all())
    if (p.parts.front().multiplies() && p.name() != "lm_head.weight") matrices.push_back(p.name());
  std::ranges::sort(matrices);
  std::ranges::sort(asked.products);
  CHECK(asked.products == matrices);
  // A gate's output is shown to observers, and is no module of its own.
  std::erase_if(seen.paths, [](const std::string& path) { return path.ends_with(".gate"); });
  CHECK(asked.activations == seen.paths);
  CHECK(asked.attentions == std::vector<std::string>{"model.layers.0.self_attn", "model.layers.1.self_attn"});
  CHECK(asked.of_heads == asked.attentions);
}

TEST_CASE("what an intervention puts in place of a factor goes into the product", "[models][intervention]") {
  struct Doubled final : Intervention {
    void product(const Param& weight, Tensor& x, Tensor& values) override {
      if (weight.name() == "model.layers.1.mlp.down_proj.weight") x = scaled(x, 2);
      if (weight.name() == "model.layers.0.self_attn.o_proj.weight") values = scaled(values, 4);
    }
  } doubled;
  const Run run(tiny_config()), want(tiny_config());
  want.scale("model.layers.1.mlp.down_proj.weight", 2);  // powers of two: the same bits
  want.scale("model.layers.0.self_attn.o_proj.weight", 4);
  CHECK(run.hidden(&doubled) == want.hidden(nullptr));
  CHECK(run.hidden(nullptr) != want.hidden(nullptr));
}

TEST_CASE("heads and residual streams that an intervention makes go on, and are what observers see",
          "[models][intervention]") {
  struct Changed final : Intervention {
    Tensor activation(std::string_view path, const Tensor& value) override {
      return path == "model.layers.0.mlp.residual" ? scaled(value, 0.5) : value;
    }
    Tensor heads(std::string_view path, const Tensor& value) override {
      return path == "model.layers.1.self_attn" ? scaled(value, 0) : value;
    }
  } changed;
  struct Keeper final : Observer {
    void activation(std::string_view path, const Tensor& value) override { kept[std::string(path)] = value; }
    std::map<std::string, Tensor> kept;
  } plain, seen;
  const Run run(tiny_config());
  run.hidden(nullptr, &plain);
  const auto hidden = run.hidden(&changed, &seen);
  const auto at = [](Keeper& kept, const char* path) { return test::values(kept.kept.at(path)); };
  CHECK(at(seen, "model.layers.0.mlp.residual") ==
        test::values(scaled(plain.kept.at("model.layers.0.mlp.residual"), 0.5)));
  CHECK(at(seen, "model.layers.1.self_attn.residual") == at(seen, "model.layers.0.mlp.residual"));  // o_proj of zeros
  CHECK(hidden != run.hidden(nullptr));
}

TEST_CASE("attention that an intervention has written is not computed again", "[models][intervention]") {
  struct Ones final : Intervention {
    bool attention(std::string_view, const kernels::AttentionForward& args) override {
      std::ranges::fill(args.out.span<double>(), 1);
      std::ranges::fill(args.lse.span<double>(), 7);
      return true;
    }
  } ones;
  struct Lse final : Observer {
    void attention(std::string_view, const AttentionTap& tap) override { lse = test::values(tap.lse); }
    std::vector<double> lse;
  } seen;
  const Run run(tiny_config());
  struct AllOnes final : Intervention {
    Tensor heads(std::string_view, const Tensor& value) override { return test::filled(value.shape(), DType::kF64, 1); }
  } same;
  CHECK(run.hidden(&ones, &seen) == run.hidden(&same));
  CHECK(std::ranges::all_of(seen.lse, [](double value) { return value == 7; }));
}

TEST_CASE("a pass that trains refuses an intervention", "[models][intervention]") {
  const Stream stream = Stream::cpu(1);
  Intervention nothing;
  CHECK_THROWS_AS(Pass(stream, {1, 1}, Pass::Mode::kTrain, nullptr, &nothing), ContractError);
  CHECK_THROWS_AS(Pass(stream, {1, 1}, Pass::Mode::kRecompute, nullptr, &nothing), ContractError);
}

}  // namespace spikesink
